"""Present results: the table of outcomes, for the terminal and as Markdown, and the plot of outcomes.

`table.outcome_table` builds the table once, as text cells. `terminal.to_terminal` and `markdown.to_markdown` write it;
another format needs one more module like these. `picture.draw_outcomes` draws the plot.
"""
