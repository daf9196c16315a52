"""Opinion studies: do people see the difference?

A study is a folder: ``study.json`` (the plan), ``pictures/`` under names that tell
nothing, and, unless a database is named, ``ratings.sqlite``. The parts, in the
order in which they are used::

    plan.py                  Plan: everything that is fixed before the first participant
    build.py                 build(): pictures in, a study folder out
    design.py                session(plan, number): the trials of one participant, in order
    store.py                 Store: participants and their ratings in a database
    statistics/screening.py  who is left out, and by which rule
    statistics/scores.py     maximum-likelihood scores, Bradley-Terry
    statistics/inference.py  means, intervals, paired tests
    statistics/analysis.py   analyse(plan, ratings): all of it, as one Result (result.py)
    report.py                Result -> JSON, Markdown, CSV, plots
    standing.py              who is how far, who would be left out, who may be paid
    statistics/simulate.py   raters whose truth is known, to test the rest
    statistics/rehearsal.py  a design tried out on them, before anybody is asked

What a web server does with it (:mod:`whet.web.study.routes` is one)::

    store = Store.open(folder)                  # or a postgresql:// URL
    store.register(read_plan(folder))           # again on every start; idempotent
    token = store.join(study_id)                # the resumable link is /study/<id>#<token>
    store.begin(token, consented=True, display_ok=True)
    while (trial := store.next_trial(token)) is not None:
        page = trial.view(plan)                 # all that may leave the server
        path = picture_path(folder, trial, slot)  # slot is one of page.slots
        store.rate(token, trial.id, answer, elapsed_ms)

``view`` names neither scene nor method, nor does any identifier that a browser
sees. :meth:`~whet.study.store.Store.rate` returns once the rating is on the disk,
so handing out the next trial after it loses nothing. Sent twice it counts once:
the first answer stands. ``UnknownLinkError`` (404), ``OutOfTurnError`` (409) and
every other :class:`~whet.errors.InputError` (422) carry a sentence for the page.

Nothing here imports PyTorch. The database needs SQLAlchemy and the analysis
SciPy (extra ``web``); both are imported by the modules that use them.
"""
