"""How the page looks: the fonts of the machine that shows it, so that nothing comes from elsewhere."""

import gradio as gr

FONT = ('system-ui', '-apple-system', 'Segoe UI', 'Roboto', 'DejaVu Sans', 'sans-serif')
MONO = ('ui-monospace', 'DejaVu Sans Mono', 'monospace')

CSS = """
.gradio-container { max-width: 1280px !important; margin: 0 auto !important; }
.error { border-left: 4px solid #d55e00; padding: 8px 12px; font-weight: 600; }
.status, .note, .caption { margin: 0; }
.note, .caption { font-size: 0.9em; opacity: 0.9; }
#picture img, #drawn img { width: 100%; object-fit: contain; }
#drawn img { max-height: 560px; }
#examples .grid-wrap { overflow: hidden; height: auto; min-height: 0; max-height: none; padding: 4px; }
#examples .grid-container { gap: 6px; padding: 0; grid-template-columns: repeat(6, minmax(0, 1fr)) !important; }
#examples .thumbnail-lg { aspect-ratio: 1; }
table.answers { width: 100%; border-collapse: collapse; }
.gradio-container table.answers, .gradio-container table.answers tr { border: 0; }
table.answers th { text-align: left; font-weight: 600; }
table.answers th, table.answers td { padding: 5px 6px; border: 0; border-bottom: 1px solid #8886; }
table.answers th:nth-child(2) { width: 40%; }
table.answers td.number, table.answers th:nth-child(3), table.answers th:nth-child(n+5):nth-child(-n+8)
  { text-align: right; font-variant-numeric: tabular-nums; }
table.answers tr.refused td:nth-child(n+2) { opacity: 0.8; font-style: italic; }
table.answers a { text-decoration: underline; }
.chip { display: inline-block; min-width: 1.7em; padding: 0 0.3em; text-align: center; font-weight: 700;
  line-height: 1.7em; border: 1px solid #222; border-radius: 3px; }
div.gates { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; }
div.gates figure { margin: 0; }
div.gates img { width: 100%; max-width: 360px; margin: 0; }
div.gates figcaption { font-size: 0.9em; margin-top: 2px; }
"""


def theme() -> gr.themes.Base:
    return gr.themes.Default(font=FONT, font_mono=MONO, primary_hue='blue').set(
        block_info_text_color='*neutral_600',
        block_info_text_color_dark='*neutral_300',
        block_label_text_color='*neutral_700',
        block_label_text_color_dark='*neutral_200',
        block_title_text_color='*neutral_700',
        block_title_text_color_dark='*neutral_200',
        button_primary_background_fill='*primary_700',
        button_primary_background_fill_hover='*primary_800',
    )
