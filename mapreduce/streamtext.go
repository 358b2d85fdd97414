package mapreduce

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
)

// textOf returns how the keys or values of a type look in lines of text: strings
// and bytes as they are, numbers in decimal, all else as JSON.
func textOf[T any](c coder[T]) textForm {
	t := reflect.TypeFor[T]()
	switch any(*new(T)).(type) {
	case string, []byte: // their own encoding
		same := func(dst, b []byte) ([]byte, error) { return append(dst, b...), nil }
		return textForm{format: same, parse: same}
	}
	return textForm{
		none: t.Size() == 0,
		format: func(dst, encoded []byte) ([]byte, error) {
			v, err := c.decode(encoded)
			if err != nil {
				return dst, err
			}
			switch r := reflect.ValueOf(&v).Elem(); {
			case t.Size() == 0:
				return dst, nil
			case r.CanInt():
				return strconv.AppendInt(dst, r.Int(), 10), nil
			case r.CanUint():
				return strconv.AppendUint(dst, r.Uint(), 10), nil
			case r.CanFloat():
				return strconv.AppendFloat(dst, r.Float(), 'g', -1, t.Bits()), nil
			case t.Kind() == reflect.String:
				return append(dst, r.String()...), nil
			}
			text, err := json.Marshal(v)
			return append(dst, text...), err
		},
		parse: func(dst, text []byte) ([]byte, error) {
			var v T
			var err error
			switch r := reflect.ValueOf(&v).Elem(); {
			case t.Size() == 0:
			case r.CanInt():
				var i int64
				i, err = strconv.ParseInt(string(text), 10, t.Bits())
				r.SetInt(i)
			case r.CanUint():
				var u uint64
				u, err = strconv.ParseUint(string(text), 10, t.Bits())
				r.SetUint(u)
			case r.CanFloat():
				var f float64
				f, err = strconv.ParseFloat(string(text), t.Bits())
				r.SetFloat(f)
			case t.Kind() == reflect.String:
				r.SetString(string(text))
			default:
				err = json.Unmarshal(text, &v)
			}
			if err != nil {
				return dst, err
			}
			return c.append(dst, v)
		},
	}
}

// A key ends at a tab, a value at a line feed. One that holds such a byte has a
// backspace and a second byte in its place, and so has one with a backspace. The
// second bytes are chosen so that keys keep their order.
//
//	backspace 08 -> 08 01    tab 09 -> 08 02    line feed 0A -> 08 03
const (
	backspace = '\b'
	inKeys    = "\b\t\n" // what is escaped
	inValues  = "\b\n"
)

// appendEscaped appends text to dst with the special bytes escaped.
func appendEscaped(dst, text []byte, special string) []byte {
	for {
		i := bytes.IndexAny(text, special)
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		dst = append(dst, backspace, text[i]-backspace+1)
		text = text[i+1:]
	}
}

// unescape undoes appendEscaped in place. What no escape is stays as it is, since
// others do not know of it.
func unescape(text []byte) []byte {
	i := bytes.IndexByte(text, backspace)
	if i < 0 {
		return text
	}
	out := text[:i]
	for ; i < len(text); i++ {
		if b := text[i]; b == backspace && i+1 < len(text) && 1 <= text[i+1] && int(text[i+1]) <= len(inKeys) {
			i++
			out = append(out, inKeys[text[i]-1])
		} else {
			out = append(out, b)
		}
	}
	return out
}

// A pairWriter writes pairs of encoded keys and values as lines.
type pairWriter struct {
	program *program
	w       *bufio.Writer

	text, line []byte
}

// pair writes one pair. Where values are struct{} there is no tab either: lines
// that are only keys sort as the keys do.
func (p *pairWriter) pair(key, value []byte) (err error) {
	if p.text, err = p.program.keyText.format(p.text[:0], key); err != nil {
		return err
	}
	p.line = appendEscaped(p.line[:0], p.text, inKeys)
	if !p.program.valueText.none {
		if p.text, err = p.program.valueText.format(p.text[:0], value); err != nil {
			return err
		}
		p.line = appendEscaped(append(p.line, '\t'), p.text, inValues)
	}
	p.line = append(p.line, '\n')
	_, err = p.w.Write(p.line)
	return err
}

// A lineReader reads lines of a bounded length.
type lineReader struct {
	r   *bufio.Reader
	max int
	buf []byte
}

func newLineReader(r io.Reader, max int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), max: max}
}

// read returns the next line without its line feed, valid until the next call,
// and how many bytes it took; at the end io.EOF.
func (l *lineReader) read() (line []byte, size int, err error) {
	l.buf = l.buf[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		size += len(part)
		line = part
		if len(l.buf) > 0 || err == bufio.ErrBufferFull {
			l.buf = append(l.buf, part...)
			line = l.buf
		}
		if len(line) > l.max+1 {
			return nil, size, fmt.Errorf("%w: a line of more than %d bytes", ErrTooLong, l.max)
		}
		switch {
		case err == nil:
			line = line[:len(line)-1]
		case err == io.EOF && len(line) > 0:
		case err == bufio.ErrBufferFull:
			continue
		default:
			return nil, size, err
		}
		if len(line) > l.max {
			return nil, size, fmt.Errorf("%w: a line of more than %d bytes", ErrTooLong, l.max)
		}
		return line, size, nil
	}
}

// A lineWriter cuts what is written to it into lines, without their line feeds,
// for a function.
type lineWriter struct {
	max  int
	cut  bool // a longer line comes in pieces; without, it is an error
	take func(line []byte) error

	rest []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		whole := i >= 0
		if !whole {
			i = len(p)
		}
		skip := i + 1
		if len(l.rest)+i > l.max {
			if !l.cut {
				return 0, fmt.Errorf("%w: a line of more than %d bytes", ErrTooLong, l.max)
			}
			i = l.max - len(l.rest)
			skip, whole = i, true
		}
		if !whole {
			l.rest = append(l.rest, p...)
			return n, nil
		}
		line := p[:i]
		if len(l.rest) > 0 {
			l.rest = append(l.rest, line...)
			line, l.rest = l.rest, l.rest[:0]
		}
		if err := l.take(line); err != nil {
			return 0, err
		}
		p = p[skip:]
	}
}

// flush takes a last line that had no line feed.
func (l *lineWriter) flush() error {
	if len(l.rest) == 0 {
		return nil
	}
	line := l.rest
	l.rest = nil
	return l.take(line)
}
