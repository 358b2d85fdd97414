package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

const (
	// maxLine bounds a question, in bytes.
	maxLine = 16 << 20

	// maxBomb bounds what a bomb may give out, whatever limit it was asked for
	// with, and maxStruct what a struct may have: both can be asked for in a
	// few letters.
	maxBomb   = 256 << 20
	maxStruct = 16 << 20
)

// A question asks what one encoding makes of one input.
type question struct {
	Codec  string          `json:"codec"`
	Op     string          `json:"op"`
	In     json.RawMessage `json:"in"`     // text, or bytes in hexadecimal, or the values of a struct
	Format *string         `json:"format"` // of a struct
	Limit  *int64          `json:"limit"`  // of a bomb, in bytes
}

func answers(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for line, err := range questions(ctx, env.Stdin) {
			var reply []byte
			switch err {
			case nil:
				reply = answer(line)
			case errLong:
				reply = complaint(err)
			default:
				return err
			}
			// One Write, and nothing between it and the system: flushed.
			if _, err := env.Stdout.Write(append(reply, '\n')); err != nil {
				return err
			}
		}
		return nil
	}
}

var errLong = fmt.Errorf("the question has more than %d bytes", maxLine)

// questions yields the lines of r, errLong for one that is too long, of which no
// more is held in memory than maxLine. Unlike [cli.Lines] it goes on after that.
func questions(ctx context.Context, r io.Reader) func(yield func([]byte, error) bool) {
	type result struct {
		line []byte
		err  error
	}
	return func(yield func([]byte, error) bool) {
		results := make(chan result)
		quit := make(chan struct{})
		defer close(quit)
		go func() { // stays behind if r blocks when ctx ends: it is the process's input
			defer close(results)
			in := bufio.NewReaderSize(r, 64<<10)
			for {
				line, err := readLine(in)
				if err == io.EOF {
					return
				}
				select {
				case results <- result{line, err}:
				case <-quit:
					return
				}
				if err != nil && err != errLong {
					return
				}
			}
		}()
		for {
			select {
			case <-ctx.Done():
				yield(nil, context.Cause(ctx))
				return
			case res, ok := <-results:
				if !ok || !yield(res.line, res.err) {
					return
				}
			}
		}
	}
}

// readLine reads one line without its end; the last need not have one.
func readLine(in *bufio.Reader) (line []byte, err error) {
	long := false
	for {
		part, err := in.ReadSlice('\n')
		end := err == nil
		if err == io.EOF && (len(line) > 0 || len(part) > 0 || long) {
			end = true
		}
		if end {
			part = bytes.TrimSuffix(part, []byte("\n"))
		}
		if !long {
			line = append(line, part...)
		}
		if long = long || len(line) > maxLine; long {
			line = nil
		}
		switch {
		case end && long:
			return nil, errLong
		case end:
			return line, nil
		case err != bufio.ErrBufferFull:
			return nil, err
		}
	}
}

// answer answers one question with one JSON object.
func answer(line []byte) []byte {
	var q question
	if err := (codec.JSON{MaxSize: maxLine}).Unmarshal(line, &q); err != nil {
		return complaint(fmt.Errorf("no question: %s", why(err)))
	}
	if q.In == nil || string(q.In) == "null" {
		return complaint(errors.New(`no "in"`))
	}
	var out string
	var err error
	switch q.Codec {
	case "struct":
		out, err = q.structure()
	case "json":
		out, err = q.json()
	case "msgpack":
		reply, err := q.msgpack()
		if err != nil {
			return complaint(err)
		}
		return append(append([]byte(`{"value":`), reply...), '}')
	default:
		out, err = q.text()
	}
	if err != nil {
		return complaint(err)
	}
	return append(appendString([]byte(`{"out":`), out), '}')
}

// complaint is the answer to what cannot be answered otherwise.
func complaint(err error) []byte {
	return append(appendString([]byte(`{"error":`), why(err)), '}')
}

// appendString appends s as JSON, with no more escapes than it needs.
func appendString(dst []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return append(dst, `""`...) // not for a string
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// wrongOp says which operations there are.
func (q *question) wrongOp(ops string) error {
	return fmt.Errorf("no operation %.40q for %s; there is %s", q.Op, q.Codec, ops)
}

// str reads "in" as a string.
func (q *question) str() (string, error) {
	var s string
	if q.In[0] != '"' {
		return "", errors.New(`"in" is no string`)
	}
	err := json.Unmarshal(q.In, &s)
	return s, err
}

// bytes reads "in" as bytes in hexadecimal.
func (q *question) bytes() ([]byte, error) {
	s, err := q.str()
	if err != nil {
		return nil, err
	}
	return fromHex(s)
}

func fromHex(s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("no bytes in hexadecimal: %w", err)
	}
	return b, nil
}

// text answers for the character sets, base64, idna, zlib and gzip. Encoding and
// decoding differ in what is text, a string in JSON, and what bytes.
func (q *question) text() (string, error) {
	t, err := codec.Lookup(q.Codec)
	if err != nil {
		return "", err
	}
	textIn, textOut := false, false
	encode := q.Op == "encode"
	switch t.Name() {
	case "zlib", "gzip":
		switch {
		case q.Op == "bomb" && q.Limit == nil:
			return "", errors.New(`no "limit"`)
		case q.Op == "bomb" && *q.Limit < 0:
			return "", fmt.Errorf("a limit of %d", *q.Limit)
		case q.Op == "bomb":
			t.MaxSize = min(max(*q.Limit, 1), maxBomb) // 0 would mean the default
		case q.Op != "decode":
			return "", q.wrongOp("decode, and bomb")
		}
	case "base64", "base64url", "base64-mime":
		textIn, textOut = !encode, encode
	case "idna":
		textIn, textOut = true, true
	default:
		textIn, textOut = encode, !encode
	}
	if !encode && q.Op != "decode" && q.Op != "bomb" || q.Op == "bomb" && t.Name() != "zlib" && t.Name() != "gzip" {
		return "", q.wrongOp("encode, and decode")
	}
	var in, out []byte
	if textIn {
		s, strErr := q.str()
		in, err = []byte(s), strErr
	} else {
		in, err = q.bytes()
	}
	if err != nil {
		return "", err
	}
	if encode {
		out, err = t.Encode(in)
	} else {
		out, err = t.Decode(in)
	}
	switch {
	case err != nil:
		return "", err
	case q.Op == "bomb" && int64(len(out)) > *q.Limit:
		return "", fmt.Errorf("more than %d bytes come out", *q.Limit)
	case textOut:
		return string(out), nil
	}
	return hex.EncodeToString(out), nil
}

// json says whether a text is JSON. The text is bytes in hexadecimal, since JSON
// that is not UTF-8 must be asked about too; what is no hexadecimal is taken for
// the text itself.
func (q *question) json() (string, error) {
	if q.Op != "accept" {
		return "", q.wrongOp("accept")
	}
	s, err := q.str()
	if err != nil {
		return "", err
	}
	in, err := fromHex(s)
	if err != nil {
		in = []byte(s)
	}
	if err := (codec.JSON{MaxSize: maxLine}).Check(in); err != nil {
		return "", err
	}
	return "true", nil
}

// structure answers for Python's module struct.
func (q *question) structure() (string, error) {
	if q.Format == nil {
		return "", errors.New(`no "format"`)
	}
	layout, err := codec.Compile(*q.Format)
	if err != nil {
		return "", err
	}
	if layout.Size() > maxStruct {
		return "", fmt.Errorf("a struct of %d bytes, more than %d", layout.Size(), maxStruct)
	}
	switch q.Op {
	case "encode":
		var values []any
		dec := json.NewDecoder(bytes.NewReader(q.In))
		dec.UseNumber() // 2⁶³ and 1.0 must stay what they are
		if err := dec.Decode(&values); err != nil {
			return "", errors.New(`"in" is no array`)
		}
		for i := range values {
			if values[i], err = fromJSON(values[i]); err != nil {
				return "", fmt.Errorf("value %d: %w", i, err)
			}
		}
		out, err := layout.Pack(values...)
		return hex.EncodeToString(out), err
	case "decode":
		in, err := q.bytes()
		if err != nil {
			return "", err
		}
		values, err := layout.Unpack(in)
		if err != nil {
			return "", err
		}
		out := []byte{'['}
		for i, v := range values {
			if i > 0 {
				out = append(out, ',')
			}
			switch v := v.(type) {
			case []byte:
				out = append(hex.AppendEncode(append(out, '"'), v), '"')
			case float64:
				out = appendFloat(out, v)
			default:
				out = fmt.Append(out, v) // an integer or a bool
			}
		}
		return string(append(out, ']')), nil
	}
	return "", q.wrongOp("encode, and decode")
}

// fromJSON turns a JSON value into one to pack: bytes are in hexadecimal.
func fromJSON(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return fromHex(v)
	case map[string]any:
		if s, ok := v["$hex"].(string); ok && len(v) == 1 {
			return fromHex(s)
		}
	}
	return v, nil
}

// appendFloat writes x as Python does: with as few digits as tell it from all
// others, always with a point or an exponent, so that it is no integer.
func appendFloat(dst []byte, x float64) []byte {
	switch {
	case math.IsNaN(x):
		return append(dst, "NaN"...)
	case math.IsInf(x, 0):
		if x < 0 {
			dst = append(dst, '-')
		}
		return append(dst, "Infinity"...)
	}
	verb := byte('f')
	if abs := math.Abs(x); abs != 0 && abs < 1e-4 || abs >= 1e16 {
		verb = 'e'
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, x, verb, -1, 64)
	if !bytes.ContainsAny(dst[start:], ".e") {
		dst = append(dst, ".0"...)
	}
	return dst
}

// msgpack answers with the value as JSON.
func (q *question) msgpack() ([]byte, error) {
	if q.Op != "decode" {
		return nil, q.wrongOp("decode")
	}
	in, err := q.bytes()
	if err != nil {
		return nil, err
	}
	var v any
	if err := (codec.MessagePack{}).Unmarshal(in, &v); err != nil {
		return nil, err
	}
	return appendValue(nil, v)
}

// appendValue writes v as JSON. What JSON does not have is an object with one
// name that begins with a dollar sign.
func appendValue(dst []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool, int64, uint64:
		return fmt.Append(dst, v), nil
	case float32:
		return appendValue(dst, float64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return append(appendFloat(append(dst, `{"$float":"`...), v), `"}`...), nil
		}
		return appendFloat(dst, v), nil
	case string:
		return appendString(dst, v), nil
	case []byte:
		return append(hex.AppendEncode(append(dst, `{"$hex":"`...), v), `"}`...), nil
	case time.Time:
		return fmt.Appendf(dst, `{"$time":[%d,%d]}`, v.Unix(), v.Nanosecond()), nil
	case codec.Ext:
		return fmt.Appendf(dst, `{"$ext":[%d,"%x"]}`, v.Type, v.Data), nil
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendValue(dst, e); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case map[string]any:
		return appendMap(dst, v)
	case map[any]any:
		// The names of a JSON object are strings: another key becomes its own
		// JSON, 1 "1", as in Python's json.
		named := make(map[string]any, len(v))
		for k, e := range v {
			name, ok := k.(string)
			if !ok {
				text, err := appendValue(nil, k)
				if err != nil {
					return nil, err
				}
				name = string(text)
			}
			if _, twice := named[name]; twice {
				return nil, fmt.Errorf("two keys of a map are %.40q in JSON", name)
			}
			named[name] = e
		}
		return appendMap(dst, named)
	}
	return nil, fmt.Errorf("a value of Go type %T", v)
}

// appendMap writes the names in order.
func appendMap(dst []byte, m map[string]any) ([]byte, error) {
	dst = append(dst, '{')
	for i, name := range slices.SortedFunc(maps.Keys(m), strings.Compare) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		var err error
		if dst, err = appendValue(dst, m[name]); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}
