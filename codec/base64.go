package codec

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// base64Text is base64, RFC 4648 sections 4 and 5: three bytes as four letters.
// Only the canonical form is valid: no foreign character, padding where it is
// due, and zeros in the bits that are left over.
type base64Text struct {
	url  bool // with - and _ in the place of + and /
	mime bool // in lines, RFC 2045 section 6.8
}

const (
	mimeLine  = 76               // letters
	mimeBytes = mimeLine / 4 * 3 // in a full line
)

func (b base64Text) label() string {
	switch {
	case b.url:
		return "base64url"
	case b.mime:
		return "base64-mime"
	}
	return "base64"
}

func (b base64Text) alphabet() *base64.Encoding {
	if b.url {
		return base64.URLEncoding
	}
	return base64.StdEncoding
}

func (b base64Text) encode(_ Text, src []byte) ([]byte, error) {
	enc := b.alphabet()
	if b.mime {
		return whole(&base64Encoder{b}, src)
	}
	return enc.AppendEncode(make([]byte, 0, enc.EncodedLen(len(src))), src), nil
}

func (b base64Text) decode(_ Text, src []byte) ([]byte, error) {
	return whole(&base64Decoder{base64Text: b}, src)
}

func (b base64Text) reader(_ Text, r io.Reader) io.Reader {
	return &textReader{src: r, conv: &base64Decoder{base64Text: b}}
}

func (b base64Text) writer(_ Text, w io.Writer) io.WriteCloser {
	return &textWriter{dst: w, conv: &base64Encoder{b}}
}

type base64Encoder struct{ base64Text }

func (e *base64Encoder) convert(dst, src []byte, last bool) ([]byte, int, error) {
	enc, unit := e.alphabet(), 3
	if e.mime {
		unit = mimeBytes
	}
	n := len(src) / unit * unit
	if last {
		n = len(src)
	}
	if !e.mime {
		return enc.AppendEncode(dst, src[:n]), n, nil
	}
	for rest := src[:n]; len(rest) > 0; {
		line := rest[:min(unit, len(rest))]
		dst = append(enc.AppendEncode(dst, line), '\n')
		rest = rest[len(line):]
	}
	return dst, n, nil
}

type base64Decoder struct {
	base64Text
	ended bool   // padding has come
	group []byte // the letters that await their group, in lines only
	line  int    // letters in this line
	cr    bool   // a CR has come, and must be followed by an LF
}

func (d *base64Decoder) convert(dst, src []byte, last bool) ([]byte, int, error) {
	if d.mime {
		return d.lines(dst, src, last)
	}
	n := len(src) / 4 * 4
	out, err := d.decodeLetters(dst, src[:n])
	if err != nil {
		return dst, 0, err
	}
	if last && n < len(src) {
		if d.ended {
			return out, n, malformed(d.label(), int64(n), "more after the padding")
		}
		if i := d.foreign(src[n:]); i >= 0 {
			return out, n, malformed(d.label(), int64(n+i), "%q has no place here", src[n+i])
		}
		return out, n, cut(d.label(), int64(len(src)), "%d letters in the last group, not 4", len(src)-n)
	}
	return out, n, nil
}

// decodeLetters decodes whole groups.
func (d *base64Decoder) decodeLetters(dst, src []byte) ([]byte, error) {
	if len(src) == 0 {
		return dst, nil
	}
	if d.ended {
		return dst, malformed(d.label(), 0, "more after the padding")
	}
	for _, c := range []byte("\r\n") { // the library below skips them
		if i := bytes.IndexByte(src, c); i >= 0 {
			if j := d.foreign(src); j >= 0 {
				i = j
			}
			return dst, malformed(d.label(), int64(i), "%q has no place here", src[i])
		}
	}
	out, err := d.alphabet().Strict().AppendDecode(dst, src)
	if err != nil {
		at, reason := int64(-1), err.Error()
		if corrupt, ok := errors.AsType[base64.CorruptInputError](err); ok {
			at = int64(corrupt)
			switch {
			case at >= int64(len(src)):
				at, reason = int64(len(src)), "the text ends inside a group"
			case d.foreign(src[at:at+1]) == 0:
				reason = fmt.Sprintf("%q has no place here", src[at])
			default:
				reason = "padding in the wrong place, or bits left over that are not zero"
			}
		}
		return dst, malformed(d.label(), at, "%s", reason)
	}
	d.ended = src[len(src)-1] == '='
	return out, nil
}

// foreign returns the place of the first byte that is neither a letter nor
// padding, −1 if none.
func (d *base64Decoder) foreign(src []byte) int {
	return bytes.IndexFunc(src, func(r rune) bool {
		switch {
		case 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '=':
			return false
		case d.url:
			return r != '-' && r != '_'
		}
		return r != '+' && r != '/'
	})
}

// lines decodes letters in lines of at most 76, ended by LF or CR LF.
func (d *base64Decoder) lines(dst, src []byte, last bool) ([]byte, int, error) {
	for i, c := range src {
		switch {
		case d.cr && c != '\n':
			return dst, i, malformed(d.label(), int64(i), "a CR without LF")
		case c == '\r':
			d.cr = true
		case c == '\n':
			d.cr, d.line = false, 0
		case d.line == mimeLine:
			return dst, i, malformed(d.label(), int64(i), "a line of more than %d letters", mimeLine)
		default:
			d.line++
			d.group = append(d.group, c)
			if len(d.group) < 4 {
				break
			}
			var err error
			if dst, err = d.decodeLetters(dst, d.group); err != nil {
				return dst, i, further(err, int64(i-3))
			}
			d.group = d.group[:0]
		}
	}
	switch {
	case last && d.cr:
		return dst, len(src), cut(d.label(), int64(len(src)), "a CR without LF")
	case last && len(d.group) > 0:
		return dst, len(src), cut(d.label(), int64(len(src)), "%d letters in the last group, not 4", len(d.group))
	}
	return dst, len(src), nil
}
