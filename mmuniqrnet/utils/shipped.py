"""The names and files of the weights that come with the package."""

PHOTOS, SHAPES = 'photos', 'shapes'
# Names that can be given in the place of a file.
SHIPPED = {
    PHOTOS: 'uniqrnet_efficientnet-lite0_photos.safetensors',
    SHAPES: 'uniqrnet_swin-nano_refshapes.safetensors',
}
WEIGHTS_HELP = (
    "a .safetensors or .pth file, hf://ORG/NAME, or a small model that comes with the package: 'photos' or 'shapes' "
)
DEFAULT_WEIGHTS_HELP = WEIGHTS_HELP + '(default: photos; shapes for images that "mmuniqrnet scene" made)'
