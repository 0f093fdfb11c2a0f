import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmuniqrnet.apis import UniQRNetInferencer

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope='module')
def archive(tmp_path_factory) -> Path:
    """A source distribution."""
    folder = tmp_path_factory.mktemp('sdist')
    done = subprocess.run(
        [sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', folder, 'sdist', '--formats=gztar', '-d', folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (archive,) = folder.glob('*.tar.gz')
    return archive


@pytest.fixture(scope='module')
def source(archive: Path) -> Path:
    """What a source distribution holds, unpacked."""
    subprocess.run(['tar', 'xf', archive, '-C', archive.parent], check=True)
    return archive.parent / archive.name.removesuffix('.tar.gz')


@pytest.fixture(scope='module')
def wheel(source: Path) -> zipfile.ZipFile:
    """The wheel made from the source distribution."""
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', source, '--no-deps', '--no-build-isolation', '-q', '-w', source.parent],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (path,) = source.parent.glob('*.whl')
    return zipfile.ZipFile(path)


def declared(name: str) -> list[Requirement]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    included = [line.removeprefix('-r ').removesuffix('.txt') for line in lines if line.startswith('-r ')]
    pins = [Requirement(line) for line in lines if line and not line.startswith(('#', '-r '))]
    return pins + [pin for file in included for pin in declared(file)]


def setup_lists() -> dict:
    tree = ast.parse((ROOT / 'setup.py').read_text())
    values = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id in ('INSTALL_REQUIRES', 'EXTRAS_REQUIRE')
    }
    return {name: ast.literal_eval(value) for name, value in values.items()}


def test_wheel_made_from_the_sdist_has_what_mim_and_the_package_need(wheel):
    names = set(wheel.namelist())
    for folder, pattern in (('configs', '*.py'), ('tools', '*.py')):
        wanted = {f'mmuniqrnet/.mim/{path.relative_to(ROOT)}' for path in (ROOT / folder).rglob(pattern)}
        assert len(wanted) > 3
        assert wanted <= names
    assert {'mmuniqrnet/.mim/model-index.yml', 'mmuniqrnet/py.typed'} <= names
    vocab = {str(path.relative_to(ROOT)) for path in (ROOT / 'mmuniqrnet/datasets/refshapes/vocab').iterdir()}
    assert 'mmuniqrnet/datasets/refshapes/vocab/vocab.txt' in vocab
    assert vocab <= names
    assert 'mmuniqrnet/analysis/describe/languages/english.json' in names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / 'mmuniqrnet').rglob('*.py') if '.mim' not in path.parts}
    assert modules <= names


def test_wheel_is_tidy(wheel):
    tops = {name.split('/')[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith('.dist-info')} == {'mmuniqrnet'}
    assert not [name for name in wheel.namelist() if '__pycache__' in name]
    assert any(name.endswith('/LICENSE') for name in wheel.namelist())


def files_of(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.isfile()]
        return {member.name.partition('/')[2]: tar.extractfile(member).read() for member in members}


def test_sdist_has_what_make_needs_and_no_more(archive):
    names = set(files_of(archive))
    tops = {name.split('/')[0] for name in names}
    assert tops == {
        *('CITATION.cff', 'LICENSE', 'MANIFEST.in', 'Makefile', 'PKG-INFO', 'README.md', 'configs', 'mmuniqrnet'),
        *('model-index.yml', 'pyproject.toml', 'requirements', 'setup.cfg', 'setup.py', 'tools'),
    }
    assert 'mmuniqrnet/weights/uniqrnet_swin-nano_refshapes.safetensors' in names
    assert not [name for name in names if name.startswith('mmuniqrnet/.mim')]


def test_neither_has_private_files_or_keys(archive, wheel):
    known = {'.py', '.pyi', '.txt', '.md', '.yml', '.toml', '.cfg', '.cff', '.in', '.sh', '.json', '.safetensors'}
    known |= {'.typed', '', '.ttf'}  # '': LICENSE, Makefile and the files of the metadata
    files = files_of(archive) | {name: wheel.read(name) for name in wheel.namelist() if not name.endswith('/')}
    for name, content in files.items():
        parts = Path(name).parts
        assert Path(name).suffix in known, name
        assert not [part for part in parts if part.startswith('.') and part != '.mim'], name
        assert not re.search(rb'-----BEGIN [A-Z ]*PRIVATE KEY|\bhf_[A-Za-z0-9]{30}|\bpypi-AgE|/root/', content), name


def test_description_is_the_readme(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))
    metadata = wheel.read(name).decode()
    assert 'Description-Content-Type: text/markdown' in metadata and 'License: Apache-2.0' in metadata
    assert metadata.rstrip().endswith((ROOT / 'README.md').read_text().rstrip())


@pytest.mark.slow
def test_twine_accepts_both(archive, wheel):
    pytest.importorskip('twine', reason='needs twine, of requirements/release.txt')
    command = [sys.executable, '-m', 'twine', 'check', '--strict', archive, wheel.filename]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count('PASSED') == 2, done.stdout


def test_version_is_the_same_everywhere(wheel):
    (metadata,) = (name for name in wheel.namelist() if name.endswith('.dist-info/METADATA'))
    version = re.search(r'^Version: (.+)$', wheel.read(metadata).decode(), re.MULTILINE)[1]
    assert f"__version__ = '{version}'" in (ROOT / 'mmuniqrnet/version.py').read_text()
    assert yaml.safe_load((ROOT / 'CITATION.cff').read_text())['version'] == version


# What the mmengine of this environment does to find a package, and what mmengine 0.10.7 and openmim do.
FIND = """
import sys
sys.path.insert(0, sys.argv[1])
from importlib import metadata
from pathlib import Path
from mmengine.utils import get_installed_path
print(get_installed_path('mmuniqrnet'))
distribution = metadata.distribution('mmuniqrnet')
folder = Path(distribution.locate_file(''))
beside = folder / 'mmuniqrnet'
print(beside if beside.exists() else folder / distribution.read_text('top_level.txt').splitlines()[0])
"""


@pytest.mark.parametrize('hook', ['build_editable', 'build_wheel'])
def test_installed_package_shows_mmengine_and_mim_its_configs_and_tools(source, tmp_path, hook):
    """The wheels that `pip install -e .` and `pip install .` get from the build backend (PEP 660 and PEP 517)."""
    project, site = tmp_path / 'project', tmp_path / 'site'
    shutil.copytree(source, project)
    code = f'from setuptools import build_meta; build_meta.{hook}({str(tmp_path)!r})'
    done = subprocess.run([sys.executable, '-c', code], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob('*.whl')
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / 'find.py').write_text(FIND)
    command = [sys.executable, '-W', 'ignore', tmp_path / 'find.py', site]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = (project if hook == 'build_editable' else site) / 'mmuniqrnet'
    assert done.stdout.split() == [str(folder)] * 2
    assert (folder / '.mim' / 'configs' / 'uniqrnet_swin-nano_refshapes.py').read_text()
    assert (folder / '.mim' / 'tools' / 'train.py').read_text()
    assert (folder / '.mim' / 'model-index.yml').read_text()


@pytest.fixture(params=['sdist', 'wheel'])
def environment(request, archive, wheel, tmp_path) -> Path:
    """A new environment with the package from the sdist or the wheel, and this environment's other packages."""
    folder = tmp_path / 'venv'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True)
    (site,) = (folder / 'lib').glob('python*/site-packages')
    (site / 'others.pth').write_text(sysconfig.get_path('purelib') + '\n')
    package = archive if request.param == 'sdist' else wheel.filename
    pip = [sys.executable, '-m', 'pip', '--python', folder / 'bin' / 'python', 'install', '--quiet']
    options = ['--no-deps', '--no-index', '--no-build-isolation', '--force-reinstall']
    done = subprocess.run([*pip, *options, package], env=VARIABLES, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


# Without what would lead Python to this checkout.
VARIABLES = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}

LOOK_UP = """
import json
import mmuniqrnet
from mmengine.config import Config
from mmengine.utils import get_installed_path
folder = get_installed_path('mmuniqrnet')
config = Config.fromfile(f'{folder}/.mim/configs/uniqrnet_swin-t_refcoco.py')
print(json.dumps([mmuniqrnet.__file__, folder, config.to_dict()]))
"""


@pytest.mark.slow
def test_installed_package_works_in_another_folder(environment, tmp_path):
    def run(*command: object) -> str:
        done = subprocess.run(list(map(str, command)), env=VARIABLES, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    program, python = environment / 'bin' / 'mmuniqrnet', environment / 'bin' / 'python'
    assert 'mmuniqrnet ground' in run(program, '--help')
    file, folder, config = json.loads(run(python, '-W', 'ignore', '-c', LOOK_UP).splitlines()[-1])
    assert file == f'{folder}/__init__.py' and Path(folder).is_relative_to(environment)
    ours = Config.fromfile(ROOT / 'configs' / 'uniqrnet_swin-t_refcoco.py').to_dict()
    assert config == json.loads(json.dumps(ours))
    run(program, 'scene', 'scene.png')
    (answer,) = json.loads(run(program, 'ground', 'scene.png', 'only heart', '--json', '--device', 'cpu'))[
        'predictions'
    ]
    ask = UniQRNetInferencer(weights='shapes', device='cpu', show_progress=False)
    (expected,) = ask(str(tmp_path / 'scene.png'), 'only heart')['predictions']
    assert answer['box'] == pytest.approx(expected['box'], abs=1e-3) and answer['mask'] == expected['mask']


def test_model_index_names_every_config_and_only_existing_ones():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    models = [model for path in index['Import'] for model in yaml.safe_load((ROOT / path).read_text())['Models']]
    configs = {model['Config'] for model in models}
    assert len(configs) == len(models)
    assert configs == {str(path.relative_to(ROOT)) for path in (ROOT / 'configs').glob('*.py')}
    for model in models:
        assert Path(model['Config']).stem == model['Name']


@pytest.mark.parametrize('stack', ['onedl', 'openmmlab'])
def test_pins_lie_within_the_ranges_of_setup(stack):
    lists = setup_lists()
    pins = [pin for name in ('torch', 'common', 'test', 'build', stack) for pin in declared(name)]
    if (ROOT / 'requirements' / f'{stack}-nodeps.txt').exists():
        pins += declared(f'{stack}-nodeps')
    versions = {}
    for pin in pins:
        (specifier,) = pin.specifier
        assert specifier.operator == '=='
        versions.setdefault(canonicalize_name(pin.name), []).append(specifier.version)
    for text in lists['INSTALL_REQUIRES'] + lists['EXTRAS_REQUIRE'][stack] + lists['EXTRAS_REQUIRE']['test']:
        requirement = Requirement(text)
        for version in versions[canonicalize_name(requirement.name)]:
            assert requirement.specifier.contains(version), f'{text} does not allow the tested {version}'


def test_no_stack_is_required_and_none_names_the_other():
    lists = setup_lists()
    names = {extra: {Requirement(text).name for text in texts} for extra, texts in lists['EXTRAS_REQUIRE'].items()}
    both = {name for extra in ('onedl', 'openmmlab') for name in names[extra] if 'mm' in name}
    assert len(both) == 8
    assert not both & {Requirement(text).name for text in lists['INSTALL_REQUIRES']}
    assert all('onedl' in name for name in names['onedl'] & both)
    assert not [name for name in names['openmmlab'] if 'onedl' in name]
    for extra in set(names) - {'onedl', 'openmmlab'}:
        assert not names[extra] & both
    for stack, other in (('onedl', 'openmmlab'), ('openmmlab', 'onedl')):
        assert not {pin.name for pin in declared(stack)} & names[other] & both


# Folders that are for an extra, whose packages they may import at the top: nothing else imports them there.
EXTRA_OF = {'web': 'web', 'export': 'export', 'serving': 'serve'}


def importable(requirements: list[str]) -> set[str]:
    names = (Requirement(text).name.replace('-', '_') for text in requirements)
    return {{'pillow': 'PIL'}.get(name, name) for name in names}


def test_every_import_of_the_package_is_declared():
    lists = setup_lists()
    always = {'cv2', 'mmcv', 'mmengine', 'mmdet', 'mmseg', 'mmuniqrnet'} | importable(lists['INSTALL_REQUIRES'])
    undeclared = {}
    for path in (ROOT / 'mmuniqrnet').rglob('*.py'):
        extra = EXTRA_OF.get(path.relative_to(ROOT / 'mmuniqrnet').parts[0])
        modules = always | (importable(lists['EXTRAS_REQUIRE'][extra]) if extra else set())
        # Imports inside functions are for extras, which say so themselves.
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                top = name.split('.')[0]
                if top not in modules and top not in sys.stdlib_module_names:
                    undeclared[str(path)] = top
    assert not undeclared
