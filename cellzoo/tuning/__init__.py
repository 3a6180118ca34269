"""``cellzoo tune``: KerasTuner searches the keys of a recipe; every trial is a run of its own.

KerasTuner's oracles say what to try next and keep what was tried. A trial is `cellzoo fit` in a
process of its own: whatever happens to it, the search lives on, its memory is given back, and a
trial that was interrupted goes on where it was. A search folder holds

    recipe.yaml          what is searched          trials.csv    a row for each trial
    trials/0007/         the run folder of one     best.yaml     a recipe for `cellzoo fit`
    trials/0007.log      what it said              changes.txt   how best.yaml differs
    tensorboard/         HParams                   *.png         objective, parameters
    oracle/              KerasTuner's own notes
"""
