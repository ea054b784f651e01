"""The plan as a picture: one self-contained SVG that shows above all what the arms share.

    picture   the whole drawing
    boxes     boxes, one for each node or stack of nodes, and the lines between them
    layout    the rows of the boxes and the courses of the lines; it knows no plan
    svg       text, colours and state marks; it knows no plan either

No library does this: the Python packages that draw DAGs need Graphviz, lack lanes or stacks, or are no longer
maintained. The SVG has no script, font or file from outside, since it is looked at in many viewers. The same plan and
states give the same bytes.
"""
