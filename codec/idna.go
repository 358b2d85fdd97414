package codec

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// idnaText writes names of hosts in ASCII, as the DNS carries them: UTS 46 without
// its transitional mappings, and Punycode, RFC 3492. "niño.es" becomes
// "xn--nio-8ma.es". It is no encoding for text in general: it holds a name of
// letters, digits and inner hyphens, in labels of 1 to 63 octets, and folds case.
type idnaText struct{}

// maxName is the longest input in bytes. A name has at most 253 octets in ASCII;
// in UTF-8, with characters that the mapping drops, somewhat more. Punycode takes
// time by the square of it.
const maxName = 2048

// idnaProfile is never changed.
var idnaProfile = idna.New(idna.MapForLookup(), idna.Transitional(false),
	idna.StrictDomainName(true), idna.BidiRule(), idna.VerifyDNSLength(true))

func (idnaText) label() string { return "idna" }

func (idnaText) encode(_ Text, src []byte) ([]byte, error) {
	return nameToASCII("encode", src)
}

// decode gives the Unicode form of a name that also encode accepts, since a
// label too long for the DNS cannot have come out of it.
func (idnaText) decode(_ Text, src []byte) ([]byte, error) {
	if _, err := nameToASCII("decode", src); err != nil {
		return nil, err
	}
	text, err := idnaProfile.ToUnicode(string(src))
	if err != nil {
		return nil, failed("idna", "decode", ErrMalformed, err)
	}
	return []byte(text), nil
}

func (t idnaText) reader(_ Text, r io.Reader) io.Reader {
	return &textReader{src: r, conv: idnaConverter(func(b []byte) ([]byte, error) { return t.decode(Text{}, b) })}
}

func (t idnaText) writer(_ Text, w io.Writer) io.WriteCloser {
	return &textWriter{dst: w, conv: idnaConverter(func(b []byte) ([]byte, error) { return t.encode(Text{}, b) })}
}

// An idnaConverter waits for the whole name: what it becomes depends on all of
// it.
type idnaConverter func(src []byte) ([]byte, error)

func (c idnaConverter) convert(dst, src []byte, last bool) ([]byte, int, error) {
	if !last && len(src) <= maxName {
		return dst, 0, nil
	}
	out, err := c(src)
	if err != nil {
		return dst, 0, err
	}
	return append(dst, out...), len(src), nil
}

// nameToASCII converts a name and finds, when it cannot, which label is to
// blame.
func nameToASCII(op string, src []byte) ([]byte, error) {
	condition := ErrUnfit
	if op == "decode" {
		condition = ErrMalformed
	}
	wrong := func(offset int, reason string, args ...any) error {
		return &Error{"idna", op, int64(offset), fmt.Sprintf(reason, args...), condition}
	}
	name := string(src[:min(len(src), maxName)])
	if len(src) > maxName {
		name = strings.ToValidUTF8(name, "") // the cut may go through a character
	}
	out, err := "", error(nil)
	if utf8.Valid(src) && len(src) <= maxName {
		out, err = idnaProfile.ToASCII(name)
		if err == nil && !strings.HasSuffix(out, ".") {
			return []byte(out), nil
		}
	}
	at := 0
	for rest := name; ; {
		i := strings.IndexAny(rest, ".。．｡")
		label := rest
		if i >= 0 {
			label = rest[:i]
		}
		switch ascii, labelErr := idnaProfile.ToASCII(label); {
		case label == "":
			return nil, wrong(at, "an empty label: each has 1 to 63 octets")
		case !utf8.ValidString(label):
			condition = ErrMalformed
			return nil, wrong(at, "a label that is not UTF-8")
		case labelErr != nil && len(ascii) > 63:
			return nil, wrong(at, "a label of %d octets in ASCII, more than 63", len(ascii))
		case labelErr != nil:
			return nil, wrong(at, "%s", strings.TrimPrefix(labelErr.Error(), "idna: "))
		}
		if i < 0 {
			break
		}
		_, dot := utf8.DecodeRuneInString(rest[i:])
		at += i + dot
		rest = rest[i+dot:]
	}
	switch {
	case len(src) > maxName:
		return nil, wrong(maxName, "%d bytes: a name has at most 253 octets", len(src))
	case len(out) > 253:
		return nil, wrong(0, "%d octets in ASCII, more than 253", len(out))
	case err != nil:
		return nil, wrong(0, "%s", strings.TrimPrefix(err.Error(), "idna: "))
	}
	return []byte(out), nil
}
