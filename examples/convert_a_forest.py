"""A forest of scikit-learn becomes one file that decides as the forest does."""

import tempfile

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from edgeml import Model
from edgeml_converters import convert

rows, digits = load_digits(return_X_y=True)
forest = RandomForestClassifier(50, random_state=0).fit(rows[:1200], digits[:1200])
held_out = (rows[1200:], digits[1200:])
conversion = convert(forest, rows[:1200], evaluation=held_out, scheme="float32")
with tempfile.TemporaryDirectory() as folder:
    conversion.write(f"{folder}/forest.tflite")
    said = Model.load(f"{folder}/forest.tflite").predict(rows[1500].astype("f4"))
print(f"a {said.label}, agreement {conversion.verdict.agreement:.0%}")
