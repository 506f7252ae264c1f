"""What keys, mouse and palette do, by subject: each file is a part of the app.

``base`` is what all of them may use; ``app`` is put together from them.  The keys are in
``dashboard.keys``: a key names an action, an action is a method ``action_…`` here.
"""
