"""Packaging, with the ``.mim`` folder in which ``mim train mmuniqrnet CONFIG`` finds configs and tools."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_ITEMS = ('configs', 'tools', 'model-index.yml')

# No mm* package here: each stack installs the same import names, and a requirement on one would overwrite the other.
INSTALL_REQUIRES = [
    'torch>=2.6',
    'transformers>=4.40,<6',
    'huggingface_hub>=0.23',
    'numpy>=1.23',
    'pillow>=9.5',
    'pycocotools>=2.0.7',
    'safetensors>=0.4',
    'scipy>=1.9',
    'matplotlib>=3.6',
    'packaging>=23',
    'prettytable>=3.8',
    'tensorboard>=2.14',
]

# pip builds mmcv here without its compiled ops: `python -m mmuniqrnet.env` says what to do next.
EXTRAS_REQUIRE = {
    'onedl': [
        'onedl-mmengine>=0.10.12,<0.11',
        'onedl-mmcv>=2.3.6,<2.4',
        'onedl-mmdetection>=3.5.1,<3.6',
        'onedl-mmsegmentation>=1.4.2,<1.5',
        'opencv-python<4.13',
        'six',
    ],
    'openmmlab': [
        'mmengine>=0.10.7,<0.11',
        'mmcv>=2.1.0,<2.2',
        'mmdet>=3.3.0,<3.4',
        'mmsegmentation>=1.2.2,<1.3',
        'ftfy',
        'regex',
        'setuptools<80',
    ],
    'timm': ['timm>=1.0.31', 'torchvision'],
    'web': ['gradio>=6.31,<7'],
    'serve': [
        'fastapi>=0.116',
        'starlette>=0.46',
        'uvicorn>=0.34,<1',
        'h11>=0.16',
        'python-multipart>=0.0.28',
        'prometheus-client>=0.20',
    ],
    'hub': ['pyarrow>=14'],
    'ray': ['ray[data]>=2.60,<3', 'pyarrow>=17'],
    'export': ['onnx>=1.18', 'onnxruntime>=1.23', 'onnxscript>=0.5', 'tokenizers>=0.15'],
    'docs': ['sphinx>=8.1', 'myst-parser>=4', 'furo'],
    'test': ['pytest>=8'],
}


def fill_mim_folder(package: Path, link: bool) -> None:
    """Put configs, tools and the model index under ``package/.mim``, as links into this checkout or as copies."""
    mim = package / '.mim'
    mim.mkdir(parents=True, exist_ok=True)
    for name in MIM_ITEMS:
        source, target = ROOT / name, mim / name
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)
        if not source.exists():
            continue
        if link:
            target.symlink_to(Path('..', '..', name))
        elif source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
        else:
            shutil.copyfile(source, target)


class BuildPyWithMim(build_py):
    """Adds ``.mim``; in an editable installation, also says where the package is.

    mmengine 0.10.7 and openmim look for a package beside its metadata, in site-packages, where an editable installation
    does not have it. They join that folder with the first line of ``top_level.txt``, which may be an absolute path.
    """

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            return fill_mim_folder(Path(self.build_lib) / 'mmuniqrnet', link=False)
        fill_mim_folder(ROOT / 'mmuniqrnet', link=True)
        (metadata,) = Path(self.get_finalized_command('install').install_lib).glob('mmuniqrnet-*.dist-info')
        (metadata / 'top_level.txt').write_text(f'{ROOT / "mmuniqrnet"}\n')


def version() -> str:
    return re.search(r"__version__ = '(.+?)'", (ROOT / 'mmuniqrnet' / 'version.py').read_text()).group(1)


def readme() -> str:
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.exists() else ''


if __name__ == '__main__':
    setup(
        name='mmuniqrnet',
        version=version(),
        description='UniQRNet, referring expression comprehension and segmentation in one network, for OpenMMLab',
        long_description=readme(),
        long_description_content_type='text/markdown',
        author='mmuniqrnet contributors',
        license='Apache-2.0',
        license_files=['LICENSE'],
        python_requires='>=3.10',
        packages=find_packages(include=('mmuniqrnet', 'mmuniqrnet.*')),
        package_data={
            'mmuniqrnet': [
                'py.typed',
                'analysis/describe/languages/*.json',
                'datasets/refshapes/vocab/*',
                'weights/*.safetensors',
            ]
        },
        entry_points={'console_scripts': ['mmuniqrnet = mmuniqrnet.cli:main']},
        include_package_data=False,
        install_requires=INSTALL_REQUIRES,
        extras_require=EXTRAS_REQUIRE,
        classifiers=[
            'Development Status :: 4 - Beta',
            'Operating System :: POSIX :: Linux',
            'Programming Language :: Python :: 3',
            'Programming Language :: Python :: 3.10',
            'Programming Language :: Python :: 3.11',
            'Programming Language :: Python :: 3.12',
            'Topic :: Scientific/Engineering :: Image Recognition',
            'Topic :: Scientific/Engineering :: Artificial Intelligence',
            'Typing :: Typed',
        ],
        cmdclass={'build_py': BuildPyWithMim},
        zip_safe=False,
    )
