"""Configs that want to run code, hang, eat memory or look around; each must end in an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mm2pl.config import Config, ConfigError

SECONDS, MEGABYTES = 20, 500

PYTHON: dict[str, str] = {
    # run code
    "import": "import os\nos.system('touch pwned')",
    "import subprocess": "import subprocess",
    "import from": "from os import system\nsystem('touch pwned')",
    "import in a function": "def f():\n    import os\n    os.system('touch pwned')\nf()",
    "__import__": "__import__('os').system('touch pwned')",
    "eval": "x = eval(\"__import__('os').system('touch pwned')\")",
    "exec": "exec('import os')",
    "compile": "compile('1', 'x', 'eval')",
    "open": "x = open('pwned', 'w')",
    "lambda": "x = (lambda: 1)()",
    "class": "class A:\n    pass",
    "class with metaclass": "class A(metaclass=print):\n    pass",
    "decorator": "@print\ndef f(): pass",
    "generator": "def f():\n    yield 1\nx = list(f())",
    "with": "import copy\nwith copy: pass",
    "try": "try:\n    x = 1\nexcept Exception:\n    pass",
    "raise": "raise SystemExit",
    "walrus": "x = [y := 1, y]",
    "yield": "x = yield 1",
    "await": "x = await y",
    "global": "global x",
    "match": "match 1:\n    case 1: x = 2",
    "builtins": "x = __builtins__",
    "getattr": "x = getattr(1, 'real')",
    "vars": "x = vars()",
    "globals": "globals()['x'] = 1",
    "globals as a value": "x = globals()",
    "globals of a name": "d = dict(a=1)\nglobals().update(d)",
    "globals in a loop's scope": "x = [globals().update({'a': 1}) for i in [1]]",
    "globals with a key that is no string": "globals().update({1: 2})",
    "globals with arguments": "globals(1).update({'a': 2})",
    "globals with keywords": "globals().update({'a': 2}, b=3)",
    "type": "x = type(1)",
    # reach for attributes
    "__class__": "x = ().__class__.__bases__[0].__subclasses__()",
    "__class__ of dict": "x = dict().__class__",
    "__globals__ of a function": "x = dict.__globals__",
    "private attribute of a function": "x = len.call",
    "module of a function": "import copy\nx = copy.sys",
    "os.environ": "import os\nx = os.environ",
    "os.path.os": "import os.path as p\nx = p.os.system('touch pwned')",
    "expanduser": "import os\nx = os.path.expanduser('~')",
    "func of a partial": "import copy\nx = copy.deepcopy.func",
    "str.format attributes": "x = '{0.__class__}'.format(1)",
    "str.format items": "x = '{0[a]}'.format(dict(a=1))",
    "str.format_map": "x = '{a}'.format_map(dict(a=1))",
    "percent mapping": "x = '%(a)s' % dict(a=1)",
    "base's class": "_base_ = 'base.py'\nx = _base_.__class__",
    "base's method": "_base_ = 'base.py'\nx = _base_.build_lazy(1)",
    "overwrite a method": "_base_ = 'base.py'\n_base_.items = 5",
    "overwrite a dunder": "_base_ = 'base.py'\n_base_.__class__ = dict",
    "delete a dunder": "_base_ = 'base.py'\ndel _base_.__dict__",
    "attribute of a list": "x = []\nx.y = 1",
    "keep a function": "x = [dict]",
    "keep a method": "x = dict(a=[].append)",
    "key function": "x = sorted([1], key=len)",
    # hang or eat memory
    "while True": "while True:\n    x = 1",
    "comprehension bomb": "x = [[[i for i in range(999)] for j in range(999)] for k in range(999)]",
    "generator bomb": "x = sum(i for i in range(10**12))",
    "range bomb": "x = list(range(10**10))",
    "range in a list": "x = 'a' in range(10**10)",
    "max of a range": "x = max(range(10**10))",
    "unpacked range": "x = [*range(10**9)]",
    "star arguments": "x = dict(zip(*[range(10**9)] * 2))",
    "power": "x = 9 ** 9 ** 9",
    "power of power": "x = 2\nfor i in range(50): x = x ** x",
    "shift": "x = 1 << 10**9",
    "int to bytes": "x = (1).to_bytes(10**9, 'big')",
    "bytes": "x = bytes(10**10)",
    "bytearray": "x = bytearray(10**10)",
    "centered": "x = 'a'.center(10**9)",
    "zeros in front": "x = '1'.zfill(10**9)",
    "tabs": "x = '\\t'.expandtabs(10**9)",
    "translate": "x = 'a'.translate({97: 'b' * 10**6})",
    "recursion": "def f(n): return f(n + 1)\nx = f(0)",
    "mutual recursion": "def f(n): return g(n)\ndef g(n): return f(n)\nx = f(1)",
    "exponential recursion": "def f(n): return n if n < 2 else f(n - 1) + f(n - 2)\nx = f(60)",
    "many searches": "x = 'a' * 200000\ny = [x.find('a' * 1000 + 'b') for i in range(2000)]",
    "many comparisons": "x = 'a' * 200000\ny = 'a' * 200000\nz = [x == y for i in range(200000)]",
    "many containments": "x = 'a' * 200000\nz = ['b' in x for i in range(200000)]",
    "many long keys": "z = {('a' * 100000) + str(i): 1 for i in range(100000)}",
    "regular expression": "import re\nx = re.match('(a+)+$', 'a' * 40 + 'b')",
    "math.factorial": "import math\nx = math.factorial(10**7)",
    "deepcopy doubling": "import copy\nx = [0] * 1000\n"
    "for i in range(30): x = [copy.deepcopy(x), copy.deepcopy(x)]",
    "in place power": "x = 2\nfor i in range(60): x **= x",
    "in place shift": "x = 1\nfor i in range(60): x <<= x",
    "factorial": "x = 1\nfor i in range(10**9): x *= i",
    "squaring": "x = 3\nfor i in range(60): x *= x",
    "round": "x = round(5, -10**9)",
    "int of a long string": "x = int('9' * 500000)",
    "hex literal": "x = str(0x" + "f" * 100_000 + ")",
    "list repetition": "x = [0] * 10**10",
    "string repetition": "x = 'a' * 10**10",
    "doubling a list": "x = [1]\nfor i in range(60): x = x + x",
    "doubling in place": "x = [1]\nfor i in range(60): x += x",
    "doubling by extend": "x = [1]\nfor i in range(60): x.extend(x)",
    "doubling by slice": "x = [1]\nfor i in range(60): x[:0] = x",
    "doubling a string": "x = 'ab'\nfor i in range(60): x = x + x",
    "doubling by f-string": "x = 'ab'\nfor i in range(60): x = f'{x}{x}'",
    "doubling by join": "x = 'ab'\nfor i in range(60): x = ''.join([x, x])",
    "doubling by replace": "x = 'ab'\nfor i in range(60): x = x.replace('a', x)",
    "doubling by format": "x = 'ab'\nfor i in range(60): x = '{0}{0}'.format(x)",
    "doubling by percent": "x = 'ab'\nfor i in range(60): x = '%s%s' % (x, x)",
    "doubling by repr": "x = ['\\\\']\nfor i in range(60): x = [f'{x!r}']",
    "doubling by sum": "x = [1]\nfor i in range(60): x = sum([x, x], [])",
    "doubling by os.path": "from os.path import join\nx = 'a'\nfor i in range(60): x = join(x, x)",
    "wide format": "x = f'{1:999999999}'",
    "wide nested format": "x = '{:{}}'.format(1, 999999999)",
    "wide percent": "x = '%999999999d' % 1",
    "star percent": "x = '%*d' % (999999999, 1)",
    "precise format": "x = f'{1:.999999999f}'",
    "billion laughs": "x = [1] * 9\n" + "x = [x] * 9\n" * 30,
    "billion laughs in a dict": "x = dict(a=1)\n" + "x = dict(a=x, b=x)\n" * 40,
    "billion laughs hashed": "x = (1,)\n" + "x = (x, x)\n" * 60 + "y = {x: 1}",
    "billion laughs in a set": "x = (1,)\n" + "x = (x, x)\n" * 60 + "y = {x}",
    "billion laughs compared": "x = y = (1,)\n" + "x, y = (x, x), (y, y)\n" * 60 + "z = x == y",
    "billion laughs contained": "x = y = (1,)\n" + "x, y = (x, x), (y, y)\n" * 60 + "z = x in [y]",
    "billion laughs sorted": "x = y = (1,)\n"
    + "x, y = (x, x), (y, y)\n" * 60
    + "z = sorted([x, y])",
    "billion laughs printed": "x = (1,)\n" + "x = (x, x)\n" * 60 + "y = f'{x}'",
    "billion laughs as key": "x = (1,)\n" + "x = (x, x)\n" * 60 + "y = dict()[x]",
    "billion laughs in the base": "_base_ = 'base.py'\nx = [1]\n"
    + "x = [x, x]\n" * 60
    + "_base_.y = x",
    "billion laughs in an update": "_base_ = 'base.py'\nx = [1]\n"
    + "x = [x, x]\n" * 60
    + "_base_.update(dict(y=x))",
    "billion laughs as _base_": "_base_ = [[[[[['a'] * 99] * 99] * 99] * 99] * 99]",
    "contains itself": "x = []\nx.append(x)",
    "contains itself, printed": "x = []\nx.append(x)\ny = str(x)",
    "dict contains itself": "x = dict()\nx['x'] = x\ny = x == x",
    "grows while looped over": "x = [1]\nfor y in x:\n    x += x",
    "hash collisions": "x = {i * (2**61 - 1): 0 for i in range(10**6)}",
    "hash collisions in a set": "x = set([i * (2**61 - 1) for i in range(50000)])",
    "long misspelt name": "x = " + "y" * 300_000,
    "deep parentheses": "x = " + "(" * 250 + ")" * 250,
    "deep lists": "x = " + "[" * 150 + "]" * 150,
    "deep minus": "x = " + "-" * 150_000 + "1",
    "deep not": "x = " + "not " * 90_000 + "1",
    "deep sum": "x = 1" + "+1" * 150_000,
    "deep power": "x = " + "2**" * 100_000 + "1",
    "deep attributes": "x = y" + ".y" * 150_000,
    "deep calls": "x = dict" + "()" * 150_000,
    "deep conditions": "x = " + "1 if 0 else " * 30_000 + "1",
    "deep elif": "if 0: pass\n" + "elif 0: pass\n" * 25_000,
    "deep blocks": "".join(" " * i + "if 1:\n" for i in range(99)) + " " * 99 + "x = 1",
    "deep f-string": "x = f'{f\"{1}\"}'" + "+ f'{1}'" * 50_000,
    "many elements": "x = [" + "1," * 190_000 + "]",
    "long comparison": "x = 1" + " <= 1" * 50_000 + " <= z",
    "null bytes": "x = 1\0",
    "many macros": "x = '" + "{{" * 5000 + "'",
    "quadratic macro": "x = '" + "{{$a:" * 900 + " " * 200_000 + "'\ny = z",
    "too long": "# " + "x" * 500_000,
    # look around
    "parent folder": "_base_ = '../outside.py'",
    "absolute path": "_base_ = '{tmp}/outside.py'",
    "dots in the middle": "_base_ = 'x/../../outside.py'",
    "home": "_base_ = '~/outside.py'",
    "symbolic link": "_base_ = 'link.py'",
    "linked folder": "_base_ = 'folder/outside.py'",
    "links to each other": "_base_ = 'here.py'",
    "pipe": "_base_ = 'pipe.py'",
    "null character": "_base_ = 'a\\0b.py'",
    "URL": "_base_ = 'file:///etc/passwd'",
    "bases doubled at each of many levels": "_base_ = 'level0.py'",
    "device": "_base_ = '/dev/zero'",
    "process": "_base_ = '/proc/self/environ'",
    "dots in a package": "_base_ = 'mm2pl::../../outside.py'",
    "package that is a folder": "_base_ = '..::outside.py'",
    "many duplicate keys": "_base_ = ['keys.py', 'same_keys.py']",
    "inherits from itself": "_base_ = 'attack.py'",
    "inherits from many": "_base_ = ['base.py'] * 10_000",
    "pure python outside": "with read_base():\n    from ..outside import *",
    "pure python in a package": "with read_base():\n    from mm2pl.config.loader import *",
    "pure python call": "from os import system\nimport torch\nsystem('touch pwned')",
    "pure python class call": "import torch\nx = torch.load('x')",
    "pure python dunder": "import torch\nx = torch.__class__",
    "pure python attributes": "import torch\nc0 = torch\n"
    + "".join(f"c{i + 1} = c{i}.{'y' * 60}\n" for i in range(4000)),
    "range": "x = range(10**100)",
    "list of a range": "x = list(range(10**100))",
    "deprecation": "_deprecation_ = 5",
    "lone surrogate": "_base_ = '\\ud800.py'",
    "environment without default": "x = '{{$HOME:}}'",
}
YAML: dict[str, str] = {
    "python object": "x: !!python/object/apply:os.system ['touch pwned']",
    "python name": "x: !!python/name:os.system",
    "python module": "x: !!python/module:os",
    "python new": "x: !!python/object/new:os.system ['touch pwned']",
    "aliases": "a: &a [1, 1]\n" + "".join(
        f"b{i}: &b{i} [*{'a' if not i else f'b{i - 1}'}, *{'a' if not i else f'b{i - 1}'}]\n"
        for i in range(40)
    ),
    "merge keys": "a: &a {x: 1}\n" + "".join(
        f"b{i}: &b{i} {{<<: [*{'a' if not i else f'b{i - 1}'}, *{'a' if not i else f'b{i - 1}'}]}}\n"
        for i in range(40)
    ),
    "shared tuples in a key": "a0: &a0 !!python/tuple [1, 1]\n" + "".join(
        f"a{i}: &a{i} !!python/tuple [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 45)
    ) + "? *a44\n: 1\n",
    "lone surrogate": '_base_: "\\ud800.py"',
    "itself": "a: &a [*a]",
    "deep": "a: " + "[" * 40_000,
    "long integer": "a: " + "1:" * 40_000 + "1",
    "long": "a: [" + "1, " * 100_000 + "]",
    "outside": "_base_: ../outside.py",
    "billion laughs from the base": "_base_: big.py\na: [" + "{{_base_.x}}, " * 900 + "]",
}  # fmt: skip
JSON: dict[str, str] = {
    "deep": '{"a": ' + "[" * 100_000,
    "long integer": '{"a": ' + "9" * 100_000 + "}",
    "outside": '{"_base_": "../outside.py"}',
}
ATTACKS = {
    f"{suffix} {name}": (text, f"attack.{suffix}")
    for suffix, table in (("py", PYTHON), ("yaml", YAML), ("json", JSON))
    for name, text in table.items()
}


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "outside.py").write_text("secret = 1")
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "link.py").symlink_to(tmp_path / "outside.py")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "here.py").symlink_to(folder / "there.py")
    (folder / "there.py").symlink_to(folder / "here.py")
    os.mkfifo(folder / "pipe.py")
    for level in range(30):
        (folder / f"level{level}.py").write_text(f"_base_ = ['level{level + 1}.py'] * 2")
    (folder / "base.py").write_text("a = dict(b=1)")
    (folder / "big.py").write_text("x = [1] * 40_000")
    names = "\n".join(f"k{n} = {n}" for n in range(8000))
    for name in ("keys.py", "same_keys.py"):
        (folder / name).write_text(names)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


@pytest.mark.parametrize(("text", "name"), ATTACKS.values(), ids=ATTACKS)
def test_attack(configs: Path, text: str, name: str) -> None:
    (configs / name).write_text(text.replace("{tmp}", str(configs.parent)))
    start = time.process_time()
    with pytest.raises(ConfigError, match=r"attack\.|No module|inherits") as caught:
        Config.fromfile(configs / name, safe=True)
    assert len(str(caught.value)) < 8000
    assert time.process_time() - start < SECONDS
    assert not list(configs.parent.rglob("pwned"))


PROBE = """
import json, sys
from mm2pl.config import Config, ConfigError
for text, name in json.load(sys.stdin):
    with open(name, "w") as file:
        file.write(text)
    try:
        Config.fromfile(name, safe=True)
    except ConfigError as error:
        str(error)
# ru_maxrss would begin with the size of the process that started this one.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) // 1024)
"""


@pytest.mark.slow
def test_no_attack_eats_memory(configs: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps([*ATTACKS.values()]),
        cwd=configs,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(result.stdout) < MEGABYTES
    assert not list(configs.parent.rglob("pwned"))


def test_the_table_is_long() -> None:
    assert len(ATTACKS) > 100


@pytest.mark.parametrize(
    "text", ["x = 1", "_base_ = 'base.py'\nx = _base_.a", "import copy\nx = 1"]
)
def test_the_fixture_itself_is_fine(configs: Path, text: str) -> None:
    (configs / "attack.py").write_text(text)
    assert Config.fromfile(configs / "attack.py", safe=True) == Config.fromfile(
        configs / "attack.py"
    )
