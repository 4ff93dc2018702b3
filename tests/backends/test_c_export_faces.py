"""What an exported module offers to C and to Python: names, calls, statuses, threads, streaming."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import exported
import graphc as gx

pytestmark = pytest.mark.cc


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> tuple[gx.Module, Path]:
    """Return the recurrent network as a module, and its project, built."""
    folder = tmp_path_factory.mktemp("faces") / "a project"
    made = exported.export(folder, exported.lstm())
    exported.make(folder, "CC=gcc", "EXTRA=-O1")
    return made, folder


HEAD = r"""
#include "lstm.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *block(size_t bytes) {
  void *made = aligned_alloc(LSTM_ALIGN, (bytes + LSTM_ALIGN) / LSTM_ALIGN * LSTM_ALIGN);
  memset(made, 0, (bytes + LSTM_ALIGN) / LSTM_ALIGN * LSTM_ALIGN);
  return made;
}

static lstm_state *loaded(void) {
  static char bytes[100000];
  FILE *file = fopen("lstm.safetensors", "rb");
  size_t length = fread(bytes, 1, sizeof bytes, file);
  lstm_state *s = block(lstm_state_size());
  fclose(file);
  if (lstm_init(s, 7) != LSTM_OK || lstm_load(s, bytes, length) != LSTM_OK) {
    exit(3);
  }
  return s;
}
"""


def ran(folder: Path, name: str, code: str, *flags: str) -> str:
    """Build a C program over the library, run it, and return what it prints."""
    (folder / f"{name}.c").write_text(HEAD + code)
    sources = (
        [f"{name}.c", "lstm.c", "lstm_contractions.c"] if flags else [f"{name}.c", "liblstm.a"]
    )
    command = ["gcc", "-std=c11", "-O1", *flags, "-o", name, *sources, "-lm", "-pthread"]
    subprocess.run(command, cwd=folder, check=True)
    done = exported.run(folder, f"./{name}")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


NAMES = r"""
int main(void) {
  lstm_function f;
  lstm_argument a;
  int number = lstm_function_find("stream");
  int64_t sizes[] = {2, 6}, shape[3];
  lstm_function_at(number, &f);
  printf("%s: %d %d %d\n", f.name, f.sizes, f.inputs, f.outputs);
  for (int place = 0; place < f.sizes + f.inputs + f.outputs; place++) {
    lstm_argument_at(number, place, &a);
    lstm_argument_shape(number, place, sizes, shape);
    printf("%s %s", a.name, a.dtype);
    for (int64_t i = 0; i < a.rank; i++) {
      printf(" %d:%d", (int)a.shape[i], (int)shape[i]);
    }
    printf("\n");
  }
  return 0;
}
"""


def test_functions_and_their_arguments_are_found_by_name(module: tuple[gx.Module, Path]) -> None:
    assert ran(module[1], "names", NAMES).splitlines() == [
        "stream: 2 3 3",
        "N int64",
        "T int64",
        "xs float32 -1:6 -1:2 3:3",
        "h0 float32 -1:2 4:4",
        "c0 float32 -1:2 4:4",
        "h float32 -1:2 4:4",
        "c float32 -1:2 4:4",
        "hs float32 -1:6 -1:2 4:4",
    ]


CALLS = r"""
int main(void) {
  lstm_state *s = loaded();
  float x[6] = {1, 2, 3, -1, 0, 2}, losses[2];
  int64_t y[2] = {3, 4}, sizes[] = {2, 1};
  int train = lstm_function_find("train");
  size_t needed = lstm_function_work_size(train, sizes);
  void *work = block(needed), *in[] = {x, y}, *out[] = {&losses[1]};
  lstm_work_init(work, needed);
  int first = lstm_train(s, work, 2, 1, x, y, &losses[0]);
  int second = lstm_function_call(loaded(), train, work, sizes, in, out);
  printf("%d %d %d %d\n", first, second, losses[0] == losses[1],
         needed == lstm_train_work_size(2, 1));
  in[1] = NULL;
  printf("%d %d %d\n", lstm_function_call(s, train, work, sizes, in, out),
         lstm_function_call(s, train, work, NULL, in, out),
         lstm_function_call(s, 99, work, sizes, in, out));
  return 0;
}
"""


def test_a_call_by_number_is_the_call_by_name(module: tuple[gx.Module, Path]) -> None:
    assert ran(module[1], "calls", CALLS).splitlines() == ["0 0 1 1", "1 1 8"]


REFUSED = r"""
static int count;
static void attempt(const lstm_state *s, const char *before, int status) {
  size_t bytes = lstm_save_size();
  char *now = block(bytes);
  lstm_save(s, now, bytes);
  printf("%s%s", count++ ? "; " : "", lstm_status_text(status));
  printf("%s", memcmp(now, before, bytes) == 0 ? "" : " BUT CHANGED");
  free(now);
}

int main(void) {
  lstm_state *s = loaded();
  float x[6] = {1, 2, 3, -1, 0, 2}, loss;
  int64_t y[2] = {3, 5}, good[2] = {0, 1};
  size_t needed = lstm_train_work_size(2, 1), bytes = lstm_save_size();
  char *before = block(bytes), *other = block(100000), *work = block(2 * needed);
  lstm_save(s, before, bytes);
  FILE *file = fopen("other.safetensors", "rb");
  size_t length = fread(other, 1, 100000, file);
  attempt(s, before, lstm_train(s, work, 2, 1, x, good, &loss));
  lstm_work_init(work, needed - LSTM_ALIGN);
  attempt(s, before, lstm_train(s, work, 2, 1, x, good, &loss));
  lstm_work_init(work, needed);
  attempt(s, before, lstm_train(s, work, 64, 64, x, good, &loss));
  attempt(s, before, lstm_train(s, work, 2, 1, x, y, &loss));
  attempt(s, before, lstm_train(s, work, 2, 0, x, good, &loss));
  attempt(s, before, lstm_train(s, work + 8, 2, 1, x, good, &loss));
  attempt(s, before, lstm_train(s, NULL, 2, 1, x, good, &loss));
  attempt(s, before, lstm_train(s, work, 2, 1, NULL, good, &loss));
  attempt(s, before, lstm_load(s, other, length));
  attempt(s, before, lstm_load(s, before, bytes / 2));
  attempt(s, before, lstm_set(s, 0, x, 3));
  attempt(s, before, lstm_train((lstm_state *)(void *)work, work, 2, 1, x, good, &loss));
  return fclose(file);
}
"""


def test_what_does_not_fit_gives_a_status_and_changes_nothing(
    module: tuple[gx.Module, Path],
) -> None:
    _, folder = module
    w = gx.parameter("w", (3,))
    other = gx.compile(gx.Program("other", f=gx.function([], w.sum())), backend="numpy")
    other.save(folder / "other.safetensors")
    work = "the work was not prepared, or is too small for this call"
    told = ran(folder, "refused", REFUSED)
    assert told.split("; ") == [
        *([work] * 3),
        "an index lies outside its axis",
        "the sizes do not fit",
        "a block is not aligned",
        "a pointer is NULL",
        "a pointer is NULL",
        "these are weights of another program",
        "this is no safetensors file, or a damaged one",
        "the buffer has another size than is needed",
        "the state was not initialised by this module",
    ]


THREADS = r"""
typedef struct { lstm_state *s; float losses[60]; } learner;

static void *learn(void *given) {
  learner *l = given;
  size_t needed = lstm_train_work_size(2, 3);
  void *work = block(needed);
  float x[18];
  int64_t y[2] = {3, 1};
  lstm_work_init(work, needed);
  for (int i = 0; i < 18; i++) {
    x[i] = (float)(i % 5) - 2;
  }
  for (int i = 0; i < 60; i++) {
    lstm_train(l->s, work, 2, 3, x, y, &l->losses[i]);
  }
  return NULL;
}

int main(void) {
  learner all[3] = {{loaded(), {0}}, {loaded(), {0}}, {loaded(), {0}}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    pthread_create(&threads[i], NULL, learn, &all[i]);
  }
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], NULL);
  }
  learn(&all[2]);
  printf("%d %d %d\n", memcmp(all[0].losses, all[2].losses, sizeof all[0].losses),
         memcmp(all[1].losses, all[2].losses, sizeof all[0].losses),
         all[2].losses[59] < all[2].losses[0]);
  return 0;
}
"""


def test_two_threads_learn_as_if_each_were_alone(module: tuple[gx.Module, Path]) -> None:
    assert ran(module[1], "threads", THREADS, "-g", "-fsanitize=thread") == "0 0 1\n"


# ---------------------------------------------------------------- Python


ALONE = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0].startswith("graphc"):
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
sys.path.insert(0, sys.argv[1])
import json
import numpy as np
import lstm
m = lstm.Module(sys.argv[1] + "/lstm.safetensors")
xs = np.load(sys.argv[2])
"""


def alone(folder: Path, tmp_path: Path, xs: np.ndarray, script: str) -> list[object]:
    """Run a script where graphc cannot be imported, and return what it prints as JSON."""
    np.save(tmp_path / "xs.npy", xs)
    text = ALONE + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-I", "-c", text, str(folder), str(tmp_path / "xs.npy")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_training_and_gradients_without_graphc_are_those_in_process(
    module: tuple[gx.Module, Path], tmp_path: Path
) -> None:
    inside, folder = gx.compile(exported.lstm(), backend="c"), module[1]
    xs = np.random.default_rng(0).standard_normal((6, 4, 3)).astype("float32")
    labels = [0, 4, 2, 2]
    script = """
    labels = [0, 4, 2, 2]
    losses = [float(m.train(xs, y=labels)) for _ in range(5)]
    found = m.gradients(xs, labels)
    print(json.dumps([losses, list(found), list(found["by"]), found["by"]["V"].tolist()]))
    """
    losses, names, leaves, by_v = alone(folder, tmp_path, xs, script)
    np.testing.assert_allclose(losses, [inside.train(xs, labels) for _ in range(5)], rtol=1e-5)
    assert names == ["loss", "by", "by_xs"]
    assert leaves == ["U", "V", "b", "out.weight", "out.bias"]
    here = {p.name: g for p, g in inside.gradients(xs, labels)["by"].items()}
    np.testing.assert_allclose(by_v, here["V"], rtol=1e-3, atol=1e-5)


def test_streaming_step_by_step_is_the_whole_sequence(
    module: tuple[gx.Module, Path], tmp_path: Path
) -> None:
    xs = np.random.default_rng(1).standard_normal((5, 2, 3)).astype("float32")
    script = """
    h = c = np.zeros((2, 4), "float32")
    whole = m.stream(xs, h, c)
    for t in range(5):
        step = m.stream(xs[t : t + 1], h, c)
        h, c = step["h"], step["c"]
    print(json.dumps([h.tolist(), whole["h"].tolist(), whole["hs"][-1].tolist()]))
    """
    streamed, whole, last = alone(module[1], tmp_path, xs, script)
    zeros = np.zeros((2, 4), "float32")
    np.testing.assert_allclose(streamed, whole, rtol=1e-6)
    np.testing.assert_allclose(last, whole, rtol=0)
    np.testing.assert_allclose(whole, module[0].stream(xs, zeros, zeros)["h"], rtol=1e-5)


def test_a_size_that_no_input_fixes_is_passed_by_name(
    module: tuple[gx.Module, Path], tmp_path: Path
) -> None:
    h0 = np.random.default_rng(2).standard_normal((2, 4)).astype("float32")
    script = """
    try:
        m.draw(xs)
    except TypeError as error:
        told = str(error)
    print(json.dumps([told, m.draw(xs, L=7).tolist()]))
    """
    told, drawn = alone(module[1], tmp_path, h0, script)
    assert told == "draw: pass the dimension L by name"
    np.testing.assert_allclose(drawn, module[0].draw(h0, L=7), rtol=1e-5)
