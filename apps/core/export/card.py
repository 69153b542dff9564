"""The texts of a bundle: the model card, and how to call it from Python, C++ and JavaScript."""

from ..report import latency_table, metrics_table, table
from ..signature import Signature, Spec

_CPP = {"float32": ("float", "f"), "int32": ("int32_t", "i32"), "uint8": ("uint8_t", "uint8")}
_JS = {"float32": "Float32Array", "int32": "Int32Array", "uint8": "Uint8Array"}


def model_card(app, opened, metrics: dict, parity: dict, latency: list[dict]) -> str:
    """Data, splits, metrics with baselines, quantised metrics, sizes, latency, intended use, limits, licence."""
    quantisation = parity["quantisation"]
    rows = [
        [name, row["numbers"], f"{row['bytes'] / 1e3:,.0f} kB", f"{row['metric']:.5g}", f"{100 * row['change']:+.2f} %"]
        for name, row in quantisation["engines"].items()
    ]
    sizes = ", ".join(f"{name} {count:,}" for name, count in metrics.get("sizes", {}).items())
    scored = "model" in metrics
    lines = [
        f"# Model card: {app.name}",
        f"{app.summary}",
        f"## Data\n{metrics.get('data', 'not recorded')}  \nSplits: {sizes or 'not recorded'}  \n"
        f"Licence of the data: {metrics.get('license', 'unknown: ask who gave it')}",
        f"## Scores on the test split\n{metrics_table(metrics)}" if scored else "## Scores\nNot evaluated.",
        "\n".join(f"- {note}" for note in metrics.get("notes", [])),
        f"## After quantisation\n`{quantisation['metric']}` on the same rows, Keras {quantisation['keras']:.5g}; "
        f"recommended: **{quantisation['recommended']}** (the smallest LiteRT file within "
        f"{100 * quantisation['agreed_loss']:.0f} %).\n\n"
        + table(["engine", "numbers", "size", "metric", "change"], rows),
        "\n".join(f"- {note}" for note in quantisation["notes"]),
        "## Latency\nOne call with one row, one thread, on the machine that exported "
        f"(`elman {app.name} benchmark` measures another).\n\n{latency_table(latency)}",
        f"## Intended use\n{app.stage('evaluate').INTENDED_USE}",
        f"## Limits\n{app.stage('evaluate').LIMITS}",
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def readme(app, signatures: list[Signature], parity: dict) -> str:
    """How to call the bundle, with every signature's names, shapes, dtypes and states."""
    named = {s.name: s for s in signatures}
    int8 = "litert-int8" in parity["containers"]
    parts = [
        f"# {app.name}: a bundle of elman",
        "`bundle.json` holds the configuration, the codec, the signatures and a checksum of every file; `samples.npz` "
        "holds one input of each signature with the answer that Keras gives to it.\n\n"
        f"```\npip install elman\nelman {app.name} predict . --example --out answer.json\n```",
        *[_describe(signature, named, int8) for signature in signatures],
        "## Calling it\n\n`any` is the batch, 1 below; another free size is `length`. A state begins with zeros, "
        "unless a table above says where its first value comes from, and takes the output that feeds it after every "
        "step. Every signature was run on LiteRT and ONNX Runtime when the bundle was made (`parity.json`), from "
        "Python; the C++ and JavaScript are written from the same declarations and were not compiled then.",
        _python(signatures),
        "C++, LiteRT (TensorFlow Lite) interpreter:\n\n" + "\n\n".join(map(_cpp, signatures)),
        "JavaScript, `onnxruntime-node` or in a browser `onnxruntime-web` (as `ort`):\n\n"
        + "\n\n".join(map(_javascript, signatures)),
    ]
    return "\n\n".join(parts) + "\n"


def _describe(signature: Signature, named: dict[str, Signature], int8: bool) -> str:
    inputs = [[s.name, s.dtype, " × ".join("any" if d is None else str(d) for d in s.shape)] for s in signature.inputs]
    outputs = [
        [name, text, f"feeds `{signature.states[name]}` of the next step" if name in signature.states else ""]
        for name, text in signature.outputs.items()
    ]
    notes = []
    if signature.fixed_batch:
        notes.append("LiteRT takes one row at a time (batch 1): the loop over time is a `WHILE` in the file.")
    if signature.steps:
        step = named[signature.steps]
        fed = set(step.states.values())
        told = [s.name for s in step.inputs if s.name not in fed]
        pairs = ", ".join(f"`{a.name}` as `{b}`" for a, b in zip(signature.inputs, told, strict=True))
        notes.append(
            f"The same without a loop, any batch: `{step.name}` along time from states of zero ({pairs}). On the "
            f"machine that exported, the {'steps were' if signature.by_steps else 'loop was'} "
            "the faster."
        )
        if int8:
            notes.append(f"`model_int8.tflite` has `{step.name}` alone.")
    return "\n\n".join(
        [
            f"## Signature `{signature.name}`\n\n{table(['input', 'dtype', 'shape'], inputs)}",
            table(["output", "holds", "state"], outputs),
            *notes,
        ]
    )


def _python(signatures: list[Signature]) -> str:
    names = ", ".join(f'"{s.name}"' for s in signatures)
    return f"""Python, with `numpy` and `ai-edge-litert` alone:

```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter

samples = np.load("samples.npz")
interpreter = Interpreter("model.tflite")
for name in ({names},):
    inputs = {{key.split("/")[2]: samples[key] for key in samples.files if key.startswith(name + "/in/")}}
    for output, values in interpreter.get_signature_runner(name)(**inputs).items():
        print(name, output, values.shape, np.abs(values - samples[f"{{name}}/out/{{output}}"]).max())
```"""


def _sizes(spec: Spec) -> list[str]:
    return ["1", *("length" if size is None else str(size) for size in spec.shape[1:])]


def _cpp(signature: Signature) -> str:
    inputs = {spec.name: spec for spec in signature.inputs}
    resize = [f'run->ResizeInputTensor("{n}", {{{", ".join(_sizes(s))}}});' for n, s in inputs.items()]
    fill = [
        f'{_CPP[s.dtype][0]}* {n} = run->input_tensor("{n}")->data.{_CPP[s.dtype][1]};'
        + (" // state: zeros first" if n in signature.states.values() else " // fill it")
        for n, s in inputs.items()
    ]
    read = [
        f'const float* {output} = run->output_tensor("{output}")->data.f;'
        for output in signature.outputs
        if output not in signature.states
    ]
    wire = [
        f'std::copy_n(run->output_tensor("{output}")->data.f, {" * ".join(_sizes(inputs[into]))}, {into});'
        for output, into in signature.states.items()
    ]
    call = ["if (run->Invoke() != kTfLiteOk) return 1;", *read]
    if wire:
        body = [f"  {line}" for line in (*call, *wire)]
        call = ["for (int t = 0; t < steps; ++t) {  // fill the inputs of step t, then", *body, "}"]
    free = any(None in s.shape[1:] for s in signature.inputs)
    lines = [
        'auto model = tflite::FlatBufferModel::BuildFromFile("model.tflite");',
        "tflite::ops::builtin::BuiltinOpResolver resolver;",
        "std::unique_ptr<tflite::Interpreter> interpreter;",
        "tflite::InterpreterBuilder(*model, resolver)(&interpreter);",
        f'tflite::SignatureRunner* run = interpreter->GetSignatureRunner("{signature.name}");',
        *(["const int length = 16;"] if free else []),
        *(["const int steps = 16;"] if wire else []),
        *resize,
        "run->AllocateTensors();",
        *fill,
        *call,
    ]
    return "```cpp\n" + "\n".join(lines) + "\n```"


def _javascript(signature: Signature) -> str:
    fed = set(signature.states.values())
    feeds = []
    for s in signature.inputs:
        values = f"new {_JS[s.dtype]}({' * '.join(_sizes(s))}), [{', '.join(_sizes(s))}]"
        note = "  // state: zeros first" if s.name in fed else ""
        feeds.append(f'  {s.name}: new ort.Tensor("{s.dtype}", {values}),{note}')
    call = [
        "const used = Object.fromEntries(session.inputNames.map((name) => [name, feeds[name]]));",
        f"const {{ {', '.join(signature.outputs)} }} = await session.run(used);",
    ]
    if signature.states:
        wire = [f"feeds.{into} = {output};" for output, into in signature.states.items()]
        call = [
            "for (let t = 0; t < 16; t++) {  // give the inputs of step t new tensors, then",
            *(f"  {c}" for c in call + wire),
            "}",
        ]
    free = any(None in s.shape[1:] for s in signature.inputs)
    lines = [
        f'const session = await ort.InferenceSession.create("{signature.name}.onnx");',
        *(["const length = 16;"] if free else []),
        "const feeds = {",
        *feeds,
        "};",
        *call,
    ]
    return "```js\n" + "\n".join(lines) + "\n```"
