package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of what a line may ask for.
const (
	maxLine = 64 << 20 // bytes of a line
	maxFill = 1 << 30  // bytes of a frame that is only described
)

// longest is the longest frame that is printed as it is.
const longest = 1024

// An operation is an input line that is an object.
type operation struct {
	Op      string   `json:"op"`
	Timeout *float64 `json:"timeout"` // recv: milliseconds; absent or negative, for ever
	Topic   *frame   `json:"topic"`   // subscribe, unsubscribe
	N       int      `json:"n"`       // flood: how many messages
	Size    int      `json:"size"`    // flood: of so many bytes
}

// parse reads an input line: the frames of a message, or an operation.
func parse(line string) (frames [][]byte, op *operation, err error) {
	if !utf8.ValidString(line) {
		return nil, nil, errors.New("the line is not UTF-8")
	}
	switch {
	case strings.HasPrefix(line, "["):
		var list []frame
		if err := json.Unmarshal([]byte(line), &list); err != nil {
			return nil, nil, err
		}
		if len(list) == 0 {
			return nil, nil, errors.New("a message has at least one frame")
		}
		for _, f := range list {
			frames = append(frames, f)
		}
		return frames, nil, nil
	case strings.HasPrefix(line, "{"):
		op = new(operation)
		if err := json.Unmarshal([]byte(line), op); err != nil {
			return nil, nil, err
		}
		return nil, op, op.check()
	}
	return nil, nil, errors.New("a line is an array of frames or an operation")
}

// check says what is wrong with the values of an operation.
func (op *operation) check() error {
	switch op.Op {
	case "recv", "stats":
	case "subscribe", "unsubscribe":
		if op.Topic == nil {
			return fmt.Errorf("%s needs a topic", op.Op)
		}
	case "flood":
		if op.N < 0 || op.Size < 0 || op.Size > maxFill {
			return fmt.Errorf("flood: n and size are 0 or more, size at most %d", maxFill)
		}
	default:
		return fmt.Errorf("no operation %q", op.Op)
	}
	return nil
}

// A frame is one frame of a message. As JSON it is a string if it is UTF-8,
// otherwise {"b64":"…"}; in the input {"fill":N} stands for N bytes x, in the
// output {"len":N,"sha256":"…"} for a long frame.
type frame []byte

// UnmarshalJSON reads the forms of the input.
func (f *frame) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		*f = frame(text)
		return nil
	}
	var form struct {
		B64  *string `json:"b64"`
		Fill *int    `json:"fill"`
	}
	if err := json.Unmarshal(data, &form); err != nil {
		return fmt.Errorf("a frame: %w", err)
	}
	switch {
	case form.B64 != nil && form.Fill == nil:
		decoded, err := base64.StdEncoding.DecodeString(*form.B64)
		if err != nil {
			return fmt.Errorf("a frame: %w", err)
		}
		*f = decoded
	case form.Fill != nil && form.B64 == nil:
		if *form.Fill < 0 || *form.Fill > maxFill {
			return fmt.Errorf("a frame: fill is 0 to %d", maxFill)
		}
		*f = bytes.Repeat([]byte("x"), *form.Fill)
	default:
		return errors.New(`a frame is a string, {"b64":"…"} or {"fill":N}`)
	}
	return nil
}

// MarshalJSON writes the forms of the output.
func (f frame) MarshalJSON() ([]byte, error) {
	switch {
	case len(f) > longest:
		sum := sha256.Sum256(f)
		return json.Marshal(struct {
			Len    int    `json:"len"`
			SHA256 string `json:"sha256"`
		}{len(f), hex.EncodeToString(sum[:])})
	case !utf8.Valid(f):
		return json.Marshal(struct {
			B64 []byte `json:"b64"`
		}{f})
	}
	return plain(string(f))
}

// message turns the frames of a message into what is printed of it.
func message(frames [][]byte) []frame {
	list := make([]frame, len(frames))
	for i, f := range frames {
		list[i] = f
	}
	return list
}

// The events and errors of the output.
type (
	ready struct {
		Event string   `json:"event"`
		Bound []string `json:"bound,omitempty"` // where a wildcard was asked for
	}
	flooded struct {
		Event string `json:"event"`
		Sent  int    `json:"sent"`
	}
	stats struct {
		Event      string `json:"event"`
		Goroutines int    `json:"goroutines"`
	}
	failure struct {
		Error  string `json:"error"`
		Detail string `json:"detail,omitempty"`
	}
)

// plain is json.Marshal that leaves <, > and & as they are.
func plain(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
