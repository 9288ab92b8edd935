"""Colours of the pictures: middle tones, which can be seen on a light and on a dark page."""

INK = "#7b828d"
GRID = "#8a919c"
BASELINE_COLOUR = "#8a919c"
COLOURS = ("#3f7fd9", "#e0803a", "#3f9f70", "#a271d1", "#cf5c78", "#3aa3b5", "#b08a2e")
