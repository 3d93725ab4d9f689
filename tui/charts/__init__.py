"""Charts in text cells, drawn by numpy alone: a series becomes columns, columns become cells with tones.

    Rows of a metric (engine/protocol/buckets.py)
      -> `Curve` (curves.py): how a metric is drawn, and its moving average
      -> `Panel` (panels.py): curves that share a y axis; `Mark`: what has happened
      -> `draw_plot` (plot.py) on an `XAxis` and a `YAxis`: a canvas of cells
      -> `Stack.draw` (stack.py): panels one above the other on one x axis, with legends, marks and cursor;
         `draw_curves` (single.py): one chart by itself, for previews and commands

run_scene.py decides what a run shows; mode.py adds the list and the overview of the chart mode; view.py has
its window and its cursor. Nothing here knows of Textual: tui/widgets/charts.py is the widget.
"""
