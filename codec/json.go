package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// JSON is the [Codec] of RFC 8259. It is package encoding/json, and its struct
// tags, made strict about what that package would change in silence: text that
// is not UTF-8, and escapes of half a surrogate pair, both of which it turns into
// U+FFFD.
//
// Two names alike in one object are allowed, as the RFC leaves open, and the last
// counts. A name finds the field of a struct also when it differs in case.
type JSON struct {
	// MaxSize is the largest text to decode, in bytes; 0 means 16 MiB,
	// negative no limit.
	MaxSize int
	// MaxDepth is how many arrays and objects may stand one inside the other;
	// 0 or less means 10,000, the limit that encoding/json has itself. A lower
	// one takes a pass over texts which have more of them than that.
	MaxDepth int
}

// Name returns "json".
func (JSON) Name() string { return "json" }

// Marshal returns v as JSON. Strings in v that are not UTF-8 become what
// encoding/json makes of them.
func (JSON) Marshal(v any) ([]byte, error) {
	out, err := json.Marshal(v)
	if err != nil {
		return nil, failed("json", "encode", ErrUnfit, err)
	}
	return out, nil
}

// Unmarshal decodes data, one JSON value and nothing else, into what v points
// at.
func (j JSON) Unmarshal(data []byte, v any) error {
	if err := j.check(data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return jsonError(data, err)
	}
	return nil
}

// Check reports why data is not one JSON value within the limits, nil if it is.
// It builds nothing, so that a number is valid whatever its size.
func (j JSON) Check(data []byte) error {
	if err := j.check(data); err != nil {
		return err
	}
	if json.Valid(data) {
		return nil
	}
	var raw json.RawMessage // to be told the reason
	return jsonError(data, json.Unmarshal(data, &raw))
}

// jsonError says what encoding/json has found, and where.
func jsonError(data []byte, err error) error {
	e := failed("json", "decode", ErrMalformed, err).(*Error)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		e.Offset = max(syntax.Offset-1, 0)
		switch {
		case strings.HasSuffix(e.Reason, "exceeded max depth"):
			e.Err = &cause{ErrTooLarge, err}
		case e.Reason == "unexpected end of JSON input", endsInside(data, e.Reason):
			e.Offset, e.Reason = int64(len(data)), "the text ends too early"
			e.Err = &cause{errCut, err}
		}
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		e.Offset = max(mismatch.Offset-1, 0)
	}
	return e
}

// endsInside says whether an error is about the space that encoding/json thinks
// behind the end of a text that ends inside a number or a name.
func endsInside(data []byte, reason string) bool {
	return strings.HasPrefix(reason, "invalid character ' ' in ") && !bytes.HasSuffix(data, []byte(" "))
}

// check looks for what encoding/json does not refuse. Everything in it runs at
// the speed of memory for the texts that are usual.
func (j JSON) check(data []byte) error {
	if size := bound(int64(j.MaxSize), defaultMaxSize); int64(len(data)) > size {
		return tooLarge("json", -1, "%d bytes, more than %d", len(data), size)
	}
	if !utf8.Valid(data) {
		at := asciiRun(data)
		for at < len(data) {
			_, size := utf8.DecodeRune(data[at:])
			if size == 1 && data[at] >= utf8.RuneSelf {
				break
			}
			at += size
		}
		return malformed("json", int64(at), "the text is not UTF-8")
	}
	if at := loneEscape(data); at >= 0 {
		return malformed("json", int64(at), "%s is half a surrogate pair", data[at:at+6])
	}
	if j.MaxDepth > 0 && bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > j.MaxDepth {
		return j.checkDepth(data)
	}
	return nil
}

// checkDepth counts brackets outside of strings.
func (j JSON) checkDepth(data []byte) error {
	depth, inside := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
		case inside:
		case c == '[' || c == '{':
			if depth++; depth > j.MaxDepth {
				return tooLarge("json", int64(i), "nested more than %d deep", j.MaxDepth)
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

// loneEscape returns where the escape of one half of a surrogate pair stands
// without the other, −1 if none does. Outside of strings there are no escapes in
// JSON, so that it need not know where strings begin.
func loneEscape(data []byte) int {
	for at := 0; at < len(data); {
		i := bytes.IndexByte(data[at:], '\\')
		if i < 0 {
			return -1
		}
		at += i
		switch unit := escapedUnit(data[at:]); {
		case unit >= 0xDC00 && unit <= 0xDFFF:
			return at
		case unit >= 0xD800 && unit <= 0xDBFF:
			if low := escapedUnit(data[at+6:]); low < 0xDC00 || low > 0xDFFF {
				return at
			}
			at += 12
		default:
			at += 2
		}
	}
	return -1
}

// escapedUnit reads an escape such as \u00e9 at the beginning of b, −1 if
// there is none.
func escapedUnit(b []byte) int {
	if len(b) < 6 || b[1] != 'u' {
		return -1
	}
	n := 0
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			n = n<<4 | int(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return n
}
