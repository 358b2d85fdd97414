package codec_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
)

// A question to CPython, and the answer that it makes on the spot: nothing of
// it is recorded anywhere.
type question struct {
	Op     string `json:"op"`
	Codec  string `json:"codec,omitempty"`
	Errors string `json:"errors,omitempty"`
	In     string `json:"in"` // hexadecimal; text as UTF-8
	Format string `json:"format,omitempty"`
	Values []any  `json:"values,omitempty"`
}

type answer struct {
	Out    *string `json:"out"` // hexadecimal; nil on an error
	Values []any   `json:"values"`
	Size   int     `json:"size"`
	Error  string  `json:"error"`
}

const oracle = `
import sys, json, struct, zlib, gzip, io, base64

def pack_value(v):
    if isinstance(v, dict):
        if "b" in v: return bytes.fromhex(v["b"])
        return float.fromhex(v["f"])
    return v

def show_value(v):
    if isinstance(v, bool): return v
    if isinstance(v, bytes): return {"b": v.hex()}
    if isinstance(v, float): return {"f": v.hex()}
    return str(v)

def answer(q):
    op, data = q["op"], bytes.fromhex(q["in"])
    if op == "decode":
        return {"out": data.decode(q["codec"], q["errors"]).encode("utf-8").hex()}
    if op == "encode":
        return {"out": data.decode("utf-8").encode(q["codec"], q["errors"]).hex()}
    if op == "zlib":
        d = zlib.decompressobj()
        out = d.decompress(data) + d.flush()
        if not d.eof or d.unused_data: raise ValueError("cut, or more after the end")
        return {"out": out.hex()}
    if op == "gzip":
        return {"out": gzip.decompress(data).hex()}
    if op == "deflate":
        return {"out": zlib.compress(data, 9).hex()}
    if op == "gz":
        buf = io.BytesIO()
        with gzip.GzipFile(filename=q.get("codec", ""), mode="wb", fileobj=buf) as f: f.write(data)
        return {"out": buf.getvalue().hex()}
    if op == "lines":
        return {"out": base64.encodebytes(data).hex()}
    if op == "pack":
        return {"out": struct.pack(q.get("format", ""), *map(pack_value, q.get("values", []))).hex()}
    if op == "unpack":
        return {"values": [show_value(v) for v in struct.unpack(q.get("format", ""), data)]}
    if op == "size":
        return {"size": struct.calcsize(q.get("format", ""))}

for line in sys.stdin:
    q = json.loads(line)
    try: a = answer(q)
    except Exception as e: a = {"error": type(e).__name__ + ": " + str(e)}
    print(json.dumps(a))
`

// ask puts questions to CPython.
func ask(t *testing.T, questions []question) []answer {
	t.Helper()
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, q := range questions {
		require.NoError(t, enc.Encode(q))
	}
	cmd := exec.CommandContext(t.Context(), interop.Python(t), "-c", oracle)
	cmd.Stdin = &in
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "%s", errs.String())
	var answers []answer
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var a answer
		require.NoError(t, json.Unmarshal(lines.Bytes(), &a))
		answers = append(answers, a)
	}
	require.Len(t, answers, len(questions))
	return answers
}

// agree compares what we made of a question with the answer: the same bytes, or
// an error on both sides.
func agree(t *testing.T, q question, a answer, got []byte, err error) {
	t.Helper()
	if a.Out == nil {
		require.Error(t, err, "%+v: CPython says %s, we %x", q, a.Error, got)
		return
	}
	require.NoError(t, err, "%+v: CPython says %s", q, *a.Out)
	require.Equal(t, *a.Out, hex.EncodeToString(got), "%+v", q)
}
