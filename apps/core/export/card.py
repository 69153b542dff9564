"""The texts of a bundle: the model card, and how to call it from Python, C++ and JavaScript."""

from ..report import metrics_table, table
from ..signature import Signature


def model_card(app, opened, metrics: dict, parity: dict) -> str:
    """Data, splits, metrics with baselines, quantised metrics, sizes, intended use, limits, licence."""
    quantisation = parity["quantisation"]
    rows = [
        [name, f"{row['bytes'] / 1e3:,.0f} kB", f"{row['metric']:.5g}", f"{100 * row['change']:+.2f} %"]
        for name, row in quantisation["engines"].items()
    ]
    sizes = ", ".join(f"{name} {count:,}" for name, count in metrics.get("sizes", {}).items())
    lines = [
        f"# Model card: {app.name}",
        f"{app.summary}",
        f"## Data\n{metrics.get('data', 'not recorded')}  \nSplits: {sizes or 'not recorded'}  \n"
        f"Licence of the data: {metrics.get('license', 'unknown: ask who gave it')}",
        f"## Scores on the test split\n{metrics_table(metrics)}" if "model" in metrics else "## Scores\nNot evaluated.",
        *[f"- {note}" for note in metrics.get("notes", [])],
        f"## After quantisation\n`{quantisation['metric']}` on the same rows, Keras {quantisation['keras']:.5g}; "
        f"recommended: **{quantisation['recommended']}** (the smallest LiteRT file within "
        f"{100 * quantisation['agreed_loss']:.0f} %).\n\n" + table(["engine", "size", "metric", "change"], rows),
        f"## Intended use\n{app.stage('evaluate').INTENDED_USE}",
        f"## Limits\n{app.stage('evaluate').LIMITS}",
    ]
    return "\n\n".join(lines) + "\n"


def readme(app, signatures: list[Signature]) -> str:
    """How to call the bundle, with every signature's names, shapes, dtypes and states."""
    parts = [
        f"# {app.name}: a bundle of elman",
        "`bundle.json` holds the configuration, the codec, the signatures and a checksum of every file; `samples.npz` "
        "holds one input of each signature with the answer that Keras gives to it.\n\n"
        f"```\npip install elman\nelman {app.name} predict . --example --out {app.output_name}\n```",
        *[_describe(signature) for signature in signatures],
        _examples(signatures[0]),
    ]
    return "\n\n".join(parts) + "\n"


def _describe(signature: Signature) -> str:
    inputs = [[s.name, s.dtype, " × ".join("any" if d is None else str(d) for d in s.shape)] for s in signature.inputs]
    outputs = [
        [name, text, f"feeds `{signature.states[name]}` of the next step" if name in signature.states else ""]
        for name, text in signature.outputs.items()
    ]
    batch = "\n\nLiteRT takes one row at a time (batch 1)." if signature.fixed_batch else ""
    return (
        f"## Signature `{signature.name}`\n\n{table(['input', 'dtype', 'shape'], inputs)}\n\n"
        f"{table(['output', 'holds', 'state'], outputs)}{batch}"
    )


def _examples(signature: Signature) -> str:
    name, first, output = signature.name, signature.inputs[0].name, next(iter(signature.outputs))
    return f"""## Calling it

Python, with `numpy` and `ai-edge-litert` alone:

```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter
samples = np.load("samples.npz")
inputs = {{k.split("/")[2]: samples[k] for k in samples.files if k.startswith("{name}/in/")}}
run = Interpreter("model.tflite").get_signature_runner("{name}")
print(run(**inputs)["{output}"])
```

C++, LiteRT (TensorFlow Lite) interpreter:

```cpp
auto model = tflite::FlatBufferModel::BuildFromFile("model.tflite");
tflite::ops::builtin::BuiltinOpResolver resolver;
std::unique_ptr<tflite::Interpreter> interpreter;
tflite::InterpreterBuilder(*model, resolver)(&interpreter);
auto* run = interpreter->GetSignatureRunner("{name}");
run->AllocateTensors();
float* {first} = run->input_tensor("{first}")->data.f;  // fill every input
run->Invoke();
const float* answer = run->output_tensor("{output}")->data.f;
```

JavaScript, ONNX Runtime Web:

```js
const session = await ort.InferenceSession.create("{name}.onnx");
const {{ {output} }} = await session.run({{ {first}: new ort.Tensor("float32", values, shape) /* every input */ }});
```"""
