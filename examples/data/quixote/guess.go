package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func guess(fs *flag.FlagSet) cli.Action {
	all := fs.Bool("all", false, "show every reading, the impossible ones too")
	most := cli.Number(fs, "max", int64(maxText), 1, 1<<30, "refuse a file of more `bytes`")
	return func(_ context.Context, env *cli.Env) error {
		if len(env.Args) == 0 {
			return cli.Usagef("guess wants the name of a FILE")
		}
		for _, name := range env.Args {
			data, err := readFile(name, *most)
			if err != nil {
				return err
			}
			var b strings.Builder
			for i, r := range guesses(data, *most) {
				switch {
				case i == 0:
					fmt.Fprintf(&b, "%s: %s, %s sure: %s\n", printable(name), r.name(), r.confidence(), r.why)
				case r.err == nil && (*all || r.sure >= 0.01):
					fmt.Fprintf(&b, "  or %s, %s: %s\n", r.name(), r.confidence(), r.why)
				case r.err != nil && *all:
					fmt.Fprintf(&b, "  not %s: %s\n", r.name(), why(r.err))
				}
				if r.err == nil && *all {
					fmt.Fprintf(&b, "     it begins %s\n", brief(r.sample))
				}
			}
			if _, err := fmt.Fprint(env.Stdout, b.String()); err != nil {
				return err
			}
		}
		return nil
	}
}

// The names of readings that are no encoding.
const (
	noText  = "binary"                     // the bytes are no text
	unknown = "an encoding not known here" // they are text, in an encoding of one byte a character
)

// A reading is what a file says if it is in a certain encoding.
type reading struct {
	names []string // of the encodings that read the same; never empty
	inner *reading // of the bytes that base64, zlib and gzip hold
	err   error    // why it cannot be that encoding; the fields below are not set then

	why    string   // what speaks for it
	sample string   // the beginning of the text
	sum    [32]byte // SHA-256 of the text
	score  float64  // the logarithm of how likely such a text is
	sure   float64  // how likely this reading is among all of them, 0 to 1
}

// name says all names, and what is inside.
func (r *reading) name() string {
	s := strings.Join(r.names, " or ")
	if r.inner != nil {
		s += " of " + r.inner.name()
	}
	return s
}

// confidence says how sure it is. The model behind it takes each pair of
// characters for independent of all others, so that it exaggerates: beyond one
// in a hundred no number is given.
func (r *reading) confidence() string {
	switch {
	case r.sure > 0.99:
		return "more than 99 %"
	case r.sure < 0.01:
		return "less than 1 %"
	}
	return fmt.Sprintf("%.0f %%", 100*r.sure)
}

// decode returns the text of data, which the reading was made from.
func (r *reading) decode(data []byte, max int64) ([]byte, error) {
	if r.names[0] == noText || r.names[0] == unknown {
		return nil, fmt.Errorf("%w: %s", codec.ErrMalformed, r.why)
	}
	t, err := codec.Lookup(r.names[0])
	if err != nil {
		return nil, err
	}
	t.MaxSize = max
	out, err := t.Decode(data)
	if err != nil {
		return nil, err
	}
	if r.inner != nil {
		return r.inner.decode(out, max)
	}
	return bytes.TrimPrefix(out, mark), nil
}

// mark is the byte order mark, U+FEFF, in UTF-8.
var mark = []byte("\uFEFF")

// maxInside is how many wrappings, one inside the other, are opened.
const maxInside = 3

// guesses returns the readings of data, the likeliest first, and after them the
// encodings in which it cannot be. No wrapping may hold more than max bytes.
func guesses(data []byte, max int64) []*reading { return readings(data, max, maxInside) }

func readings(data []byte, max int64, inside int) []*reading {
	// Bytes without any order: each of the 256 as likely as the others. Of the
	// files that somebody asks about here, one in sixteen is such, say.
	list := []*reading{{
		names: []string{noText}, why: "bytes without meaning", sample: string(data[:min(len(data), 64)]),
		sum: sha256.Sum256(append([]byte(noText), data...)), score: -float64(len(data))*math.Log(256) - math.Log(16),
	}}
	if len(data) == 0 {
		list = nil
	}
	for _, name := range []string{"ascii", "utf-8", "latin1", "windows-1252"} {
		list = append(list, read(name, data))
	}
	if r := readUnknown(data); r != nil {
		list = append(list, r)
	}
	if bytes.HasPrefix(data, []byte{0xFF, 0xFE}) || bytes.HasPrefix(data, []byte{0xFE, 0xFF}) {
		list = append(list, read("utf-16", data))
	} else {
		list = append(list, read("utf-16le", data), read("utf-16be", data))
	}
	if bytes.Contains(bytes.ToLower(data), []byte("xn--")) {
		list = append(list, read("idna", data))
	}
	if inside > 0 {
		for _, name := range []string{"base64", "base64url", "base64-mime", "zlib", "gzip"} {
			if r := unwrap(name, data, max, inside); r != nil {
				list = append(list, r)
			}
		}
	}
	return judge(list)
}

// read reads data in a character set, or idna.
func read(name string, data []byte) *reading {
	r := &reading{names: []string{name}}
	t, err := codec.Lookup(name)
	if err != nil {
		r.err = err
		return r
	}
	text, err := t.Decode(data)
	if err != nil {
		r.err = err
		return r
	}
	bare := bytes.TrimPrefix(text, mark)
	marked := len(bare) < len(text) || name == "utf-16"
	r.sum, r.score = sha256.Sum256(bare), likelihood(bare)
	r.sample = string(bare[:min(len(bare), 512)])
	for !utf8.ValidString(r.sample) { // cut at the end of a character
		r.sample = r.sample[:len(r.sample)-1]
	}
	high, c1 := 0, 0 // bytes above 7F, and those of them below A0
	for _, c := range data {
		if c >= 0x80 {
			high++
			if c < 0xA0 {
				c1++
			}
		}
	}
	switch {
	case marked:
		r.score -= math.Ln2 // half of all files of that kind begin so, say
		first := 2
		if name == "utf-8" {
			first = len(mark)
		}
		r.why = fmt.Sprintf("it begins with the byte order mark % X", data[:first])
	case name == "idna":
		r.why = "it has labels that begin with xn--"
	case strings.HasPrefix(name, "utf-16"):
		r.why = fmt.Sprintf("%d of its %d pairs of bytes have a zero", zeros(data), len(data)/2)
	case high == 0:
		r.why = "no byte is above 7F"
	case name == "utf-8":
		r.why = fmt.Sprintf("its bytes above 7F, %d, all belong to well-formed characters", high)
	case c1 > 0 && name == "latin1":
		r.why = fmt.Sprintf("of its bytes above 7F, %[2]d, %[1]d are control characters", c1, high)
	case c1 > 0:
		r.why = fmt.Sprintf("its bytes above 7F, %d, are characters, also those from 80 to 9F, %d", high, c1)
	default:
		r.why = fmt.Sprintf("its bytes above 7F, %d, are letters and signs", high)
	}
	return r
}

// readUnknown reads data as ASCII with letters of any alphabet above it, of
// which nothing is known but that they are letters. It exists so that the others
// have not to be right only because there is nobody else.
func readUnknown(data []byte) *reading {
	text := make([]byte, 0, len(data)+len(data)/8)
	high := 0
	for _, c := range data {
		if c < 0x80 {
			text = append(text, c)
		} else {
			text = append(text, "ñ"...)
			high++
		}
	}
	if high == 0 {
		return nil
	}
	return &reading{
		names: []string{unknown}, why: fmt.Sprintf("its bytes above 7F, %d, are letters of some other encoding", high),
		sample: string(data[:min(len(data), 64)]), sum: sha256.Sum256(append([]byte(unknown), data...)),
		// Any of 128 letters, where ñ is one of 32; and as rare as noText.
		score: likelihood(text) - float64(high)*math.Log(128/sizes[accented]) - math.Log(16),
	}
}

// zeros counts the pairs of bytes of which at least one is zero.
func zeros(data []byte) (n int) {
	for pair := range slices.Chunk(data, 2) {
		if bytes.IndexByte(pair, 0) >= 0 {
			n++
		}
	}
	return n
}

// unwrap reads data as bytes that base64, zlib or gzip hold. It returns nil
// where there is nothing to say.
func unwrap(name string, data []byte, max int64, inside int) *reading {
	compressed := name == "zlib" || name == "gzip"
	if len(data) == 0 || name == "zlib" && data[0]&0x0F != 8 || name == "gzip" && data[0] != 0x1F {
		return nil // nothing of the kind
	}
	r := &reading{names: []string{name}}
	t, err := codec.Lookup(name)
	if err != nil {
		r.err = err
		return r
	}
	t.MaxSize = max
	out, err := t.Decode(data)
	if err != nil {
		if !compressed {
			return nil // most files are not in base64, and need not hear of it
		}
		r.err = err
		return r
	}
	best := readings(out, max, inside-1)[0]
	// The wrapping adds nothing of its own: these bytes are as likely as what
	// they hold.
	r.inner, r.score, r.sample = best, best.score, best.sample
	r.sum = sha256.Sum256(append([]byte(best.names[0]), best.sum[:]...))
	if compressed {
		// A checksum of 32 bits is right by accident once in four thousand
		// million times.
		r.score = math.Max(r.score, 32*math.Ln2-float64(len(data))*math.Log(256))
		r.why = fmt.Sprintf("the checksum of its %d bytes is right", len(out))
	} else {
		r.why = fmt.Sprintf("nothing but letters of that alphabet, which make %d bytes", len(out))
	}
	return r
}

// judge puts together the readings that give the same text, weighs them against
// each other, and sorts them.
func judge(list []*reading) []*reading {
	var possible, not []*reading
	for _, r := range list {
		if r.err != nil {
			not = append(not, r)
			continue
		}
		i := slices.IndexFunc(possible, func(p *reading) bool { return p.sum == r.sum })
		switch {
		case i < 0:
			possible = append(possible, r)
		default:
			p := possible[i]
			p.names = append(p.names, r.names...)
			p.score = math.Max(p.score, r.score)
		}
	}
	slices.SortStableFunc(possible, func(a, b *reading) int { return cmp.Compare(b.score, a.score) })
	// Bayes' rule. The largest score is taken off first, or exp would give 0.
	var sum float64
	for _, r := range possible {
		r.sure = math.Exp(r.score - possible[0].score)
		sum += r.sure
	}
	for _, r := range possible {
		r.sure /= sum
	}
	return append(possible, not...)
}

// A kind is a set of characters that behave alike in a text.
type kind int

const (
	edge      kind = iota // before the first character
	lower                 // a to z
	upper                 // A to Z
	digit                 // 0 to 9
	space                 // the space
	control               // the ends of lines, and the tabulator
	sign                  // ! to ~ without letters and digits
	accented              // small letters of Latin-1: ß to ÿ
	capital               // capital letters of Latin-1: À to Þ
	quotes                // « » ¿ ¡ — … “ ” ‘ ’ € and the like
	symbol                // what else Latin-1 and Windows-1252 have: ¦ § ¶ ¾ ‰
	extended              // the other letters of Latin: ā to ɏ
	near                  // another letter, of the same alphabet as the one before
	ideograph             // Chinese, Japanese, Korean
	letter                // a letter of any other alphabet
	other                 // everything else that Unicode has
	never                 // controls and code points that have no place in text
	kinds                 // how many there are
)

// sizes is how many characters a kind has, about.
var sizes = [kinds]float64{
	lower: 26, upper: 26, digit: 10, space: 1, control: 3, sign: 32, accented: 32, capital: 30, quotes: 24, symbol: 50,
	extended: 200, near: 64, ideograph: 32000, letter: 90000, other: 20000, never: 900000,
}

// kindOf returns the kind of r after the character before it.
func kindOf(before, r rune) kind {
	switch {
	case 'a' <= r && r <= 'z':
		return lower
	case 'A' <= r && r <= 'Z':
		return upper
	case '0' <= r && r <= '9':
		return digit
	case r == ' ':
		return space
	case r == '\n' || r == '\r' || r == '\t':
		return control
	case '!' <= r && r <= '~':
		return sign
	case strings.ContainsRune("«»¿¡—–…“”‘’‚„€•·ºª°´", r):
		return quotes
	case 0xDF <= r && r <= 0xFF && r != '÷':
		return accented
	case 0xC0 <= r && r <= 0xDE && r != '×':
		return capital
	case 0xA0 <= r && r <= 0xFF || strings.ContainsRune("†‡ˆ‰‹›˜™ƒ", r):
		return symbol
	case 0x100 <= r && r <= 0x24F:
		return extended
	case !unicode.IsLetter(r) && !unicode.IsMark(r):
		if unicode.IsGraphic(r) {
			return other
		}
		return never
	case 0x3100 <= r && r <= 0xD7A3:
		return ideograph
	case r>>7 == before>>7:
		return near
	}
	return letter
}

// A model is the logarithm of how likely a certain character of a kind is after
// one of another kind.
type model [kinds][kinds]float64

// trained is learnt from the opening of the first chapter: how often each kind
// follows each. What has not been seen there gets a small share, more of it where
// a kind follows itself, as in a text of another alphabet.
var trained = sync.OnceValue(func() *model {
	var m model
	for a := range m {
		for b := range m[a] {
			m[a][b] = 0.5
		}
		m[a][a] = 8
		m[a][never] = 0.01
	}
	walk(opening, func(a, b kind) { m[a][b]++ })
	for a := range m {
		var sum float64
		for b := lower; b < kinds; b++ {
			sum += m[a][b]
		}
		for b := lower; b < kinds; b++ {
			m[a][b] = math.Log(m[a][b] / sum / sizes[b])
		}
	}
	return &m
})

// likelihood returns the logarithm of how likely a UTF-8 text is under the model.
func likelihood(text []byte) (sum float64) {
	m := trained()
	walk(text, func(a, b kind) { sum += m[a][b] })
	return sum
}

// walk calls pair with the kinds of each two neighbours.
func walk(text []byte, pair func(a, b kind)) {
	last, before := edge, rune(0)
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		k := kindOf(before, r)
		pair(last, k)
		last, before = k, r
	}
}
