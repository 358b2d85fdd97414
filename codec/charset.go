package codec

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// A charset is a character set: which number each character has, and how
// those numbers are written as bytes.
type charset struct {
	piecewise
	// take reads the character at the beginning of src, which is not empty.
	// size is how many bytes it has; 0 means that src ends inside it. reason
	// says what is wrong with those bytes, if anything.
	take func(src []byte) (r rune, size int, reason string)
	// put appends a character; ok is false if there is none.
	put func(dst []byte, r rune) (out []byte, ok bool)
	// ascii says that bytes below 0x80 stand for themselves.
	ascii bool
	// bom says that a byte order mark begins the text.
	bom bool
}

// The character sets. They are never changed.
var (
	utf8Set        = newCharset("utf-8", takeUTF8, putUTF8)
	asciiSet       = newCharset("ascii", takeASCII, putASCII)
	latin1Set      = newCharset("latin1", takeLatin1, putLatin1)
	windows1252Set = newCharset("windows-1252", takeWindows1252, putWindows1252)
	utf16leSet     = newCharset("utf-16le", takeUTF16LE, putUTF16LE)
	utf16beSet     = newCharset("utf-16be", takeUTF16BE, putUTF16BE)
	utf16Set       = newCharset("utf-16", takeUTF16LE, putUTF16LE)
)

func newCharset(name string, take func([]byte) (rune, int, string), put func([]byte, rune) ([]byte, bool)) *charset {
	c := &charset{take: take, put: put, bom: name == "utf-16"}
	out, _ := put(nil, 'a')
	c.ascii = len(out) == 1
	c.piecewise = piecewise{
		name:     name,
		toWire:   func(t Text) converter { return &charEncoder{charset: c, replace: t.Replace} },
		fromWire: func(t Text) converter { return &charDecoder{charset: c, replace: t.Replace, name: name} },
	}
	return c
}

// ASCII: seven bits.

func takeASCII(src []byte) (rune, int, string) {
	if src[0] >= utf8.RuneSelf {
		return 0, 1, "0x%02X is no ASCII"
	}
	return rune(src[0]), 1, ""
}

func putASCII(dst []byte, r rune) ([]byte, bool) {
	return append(dst, byte(r)), r < utf8.RuneSelf
}

// Latin-1, ISO 8859-1: the first 256 characters of Unicode.

func takeLatin1(src []byte) (rune, int, string) { return rune(src[0]), 1, "" }

func putLatin1(dst []byte, r rune) ([]byte, bool) {
	return append(dst, byte(r)), r <= 0xFF
}

// windows1252 is what Windows-1252 has at 0x80 to 0x9F, where Latin-1 has
// control characters; 0 where it has nothing.
const windows1252 = "€\x00‚ƒ„…†‡ˆ‰Š‹Œ\x00Ž\x00" + "\x00‘’“”•–—˜™š›œ\x00žŸ"

var windows1252High = [32]rune([]rune(windows1252))

func takeWindows1252(src []byte) (rune, int, string) {
	c := src[0]
	if c < 0x80 || c > 0x9F {
		return rune(c), 1, ""
	}
	if r := windows1252High[c-0x80]; r != 0 {
		return r, 1, ""
	}
	return 0, 1, "0x%02X has no character in Windows-1252"
}

func putWindows1252(dst []byte, r rune) ([]byte, bool) {
	if r < 0x80 || r > 0x9F && r <= 0xFF {
		return append(dst, byte(r)), true
	}
	for i, high := range windows1252High {
		if high == r {
			return append(dst, byte(0x80+i)), true
		}
	}
	return dst, false
}

// UTF-16, RFC 2781: two bytes a character, and four, a pair of surrogates, for
// those from U+10000 on.

const (
	loneSurrogate = "half a surrogate pair: 0x%02X%02X"
	oddLength     = "the text ends inside a character"
)

func takeUTF16(src []byte, order binary.ByteOrder) (rune, int, string) {
	if len(src) < 2 {
		return 0, 0, ""
	}
	r := rune(order.Uint16(src))
	switch {
	case !utf16.IsSurrogate(r):
		return r, 2, ""
	case r >= 0xDC00:
		return 0, 2, loneSurrogate
	case len(src) < 4:
		return 0, 0, ""
	}
	pair := utf16.DecodeRune(r, rune(order.Uint16(src[2:])))
	if pair == utf8.RuneError {
		return 0, 2, loneSurrogate
	}
	return pair, 4, ""
}

func takeUTF16LE(src []byte) (rune, int, string) { return takeUTF16(src, binary.LittleEndian) }
func takeUTF16BE(src []byte) (rune, int, string) { return takeUTF16(src, binary.BigEndian) }

func putUTF16LE(dst []byte, r rune) ([]byte, bool) {
	if r > 0xFFFF {
		r1, r2 := utf16.EncodeRune(r)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(r1))
		return binary.LittleEndian.AppendUint16(dst, uint16(r2)), true
	}
	return binary.LittleEndian.AppendUint16(dst, uint16(r)), true
}

func putUTF16BE(dst []byte, r rune) ([]byte, bool) {
	if r > 0xFFFF {
		r1, r2 := utf16.EncodeRune(r)
		dst = binary.BigEndian.AppendUint16(dst, uint16(r1))
		return binary.BigEndian.AppendUint16(dst, uint16(r2)), true
	}
	return binary.BigEndian.AppendUint16(dst, uint16(r)), true
}

// UTF-8, RFC 3629: one to four bytes, each character in one way only.

func putUTF8(dst []byte, r rune) ([]byte, bool) { return utf8.AppendRune(dst, r), true }

func takeUTF8(src []byte) (rune, int, string) {
	r, size := utf8.DecodeRune(src)
	if r != utf8.RuneError || size > 1 {
		return r, size, ""
	}
	size = wrongUTF8(src)
	if size == len(src) && !utf8.FullRune(src) {
		return 0, 0, ""
	}
	return 0, size, "what begins here with 0x%02X is not UTF-8"
}

// wrongUTF8 says how many of the first bytes of src, which are no character,
// could have begun one; 1 if none. One replacement stands for so many bytes:
// Unicode section 3.9, and what CPython does.
func wrongUTF8(src []byte) int {
	low, high, length := byte(0x80), byte(0xBF), 0 // of the second byte
	switch c := src[0]; {
	case c >= 0xC2 && c <= 0xDF:
		length = 2
	case c >= 0xE0 && c <= 0xEF:
		length = 3
		switch c {
		case 0xE0:
			low = 0xA0 // less would be two bytes
		case 0xED:
			high = 0x9F // more would be a surrogate
		}
	case c >= 0xF0 && c <= 0xF4:
		length = 4
		switch c {
		case 0xF0:
			low = 0x90
		case 0xF4:
			high = 0x8F // more would lie beyond U+10FFFF
		}
	}
	n := 1
	for n < length && n < len(src) && src[n] >= low && src[n] <= high {
		n++
		low, high = 0x80, 0xBF
	}
	return n
}

// asciiRun says how many of the first bytes of b are ASCII.
func asciiRun(b []byte) int {
	n := 0
	for len(b)-n >= 8 && binary.LittleEndian.Uint64(b[n:])&0x8080808080808080 == 0 {
		n += 8
	}
	for n < len(b) && b[n] < utf8.RuneSelf {
		n++
	}
	return n
}

// A charDecoder turns the bytes of a character set into UTF-8.
type charDecoder struct {
	*charset
	replace bool
	name    string
	begun   bool
}

func (d *charDecoder) convert(dst, src []byte, last bool) ([]byte, int, error) {
	n := 0
	if d.bom && !d.begun {
		if len(src) < 2 && !last {
			return dst, 0, nil
		}
		d.begun = true
		switch {
		case len(src) < 2:
		case src[0] == 0xFE && src[1] == 0xFF:
			d.charset, n = utf16beSet, 2
		case src[0] == 0xFF && src[1] == 0xFE:
			n = 2
		}
	}
	for n < len(src) {
		if d.ascii {
			run := asciiRun(src[n:])
			dst = append(dst, src[n:n+run]...)
			if n += run; n == len(src) {
				break
			}
		}
		r, size, reason := d.take(src[n:])
		switch {
		case size == 0 && !last:
			return dst, n, nil
		case size > 0 && reason == "":
			dst = utf8.AppendRune(dst, r)
		case d.replace:
			dst = utf8.AppendRune(dst, utf8.RuneError)
			if size == 0 {
				size = len(src) - n
			}
		case size == 0:
			return dst, n, cut(d.name, int64(n), oddLength)
		default:
			return dst, n, malformed(d.name, int64(n), reason, args(src[n:], reason)...)
		}
		n += size
	}
	return dst, n, nil
}

// args are the bytes that a reason shows.
func args(src []byte, reason string) []any {
	if reason == loneSurrogate {
		return []any{src[0], src[1]}
	}
	return []any{src[0]}
}

// A charEncoder turns UTF-8 into the bytes of a character set.
type charEncoder struct {
	*charset
	replace bool
	begun   bool
}

func (e *charEncoder) convert(dst, src []byte, last bool) ([]byte, int, error) {
	if e.bom && !e.begun {
		dst, _ = e.put(dst, '\uFEFF')
	}
	e.begun = true
	n := 0
	for n < len(src) {
		if e.ascii {
			run := asciiRun(src[n:])
			dst = append(dst, src[n:n+run]...)
			if n += run; n == len(src) {
				break
			}
		}
		r, size, reason := takeUTF8(src[n:])
		if size == 0 {
			if !last {
				return dst, n, nil
			}
			size, reason = len(src)-n, oddLength
		}
		if reason != "" {
			if !e.replace {
				return dst, n, &Error{e.name, "encode", int64(n), "the text is not UTF-8", ErrMalformed}
			}
			r = utf8.RuneError
		}
		out, ok := e.put(dst, r)
		if !ok {
			if !e.replace {
				return dst, n, unfit(e.name, int64(n), "it has no %q (%U)", r, r)
			}
			out = append(dst, '?')
		}
		dst = out
		n += size
	}
	return dst, n, nil
}
