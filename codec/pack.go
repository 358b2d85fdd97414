package codec

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// maxLayout is the most bytes that a [Layout] may have. A format is short and
// what it asks for may be long: "2000000000x".
const maxLayout = 64 << 20

// A Layout is how a sequence of values lies in memory, written in the format
// letters of Python's module struct. Make it with [Compile]. Any number of
// goroutines may use it.
//
// The first letter says in which order the bytes of a number come, and whether
// numbers stand where a C compiler for 64-bit Linux on x86 would put them:
//
//	<  little-endian      >  !  big-endian, the network's order
//	=  the same as <      @     as the C compiler does; also without any letter
//
// Each letter after that is a value, or with a number before it as many. White
// space between them is ignored. Where @ differs in size, that is in parentheses.
//
//	b B h H i I l L q Q   1 1 2 2 4 4 4 (8) 4 (8) 8 8 bytes; capitals are unsigned
//	n N P                 8 bytes, after @ only: a size, signed or not; a pointer
//	e f d                 floats of 2, 4 and 8 bytes, IEEE 754
//	?                     a bool, one byte
//	c                     one byte, as it is
//	5s                    five bytes, one value: cut or filled with zeros
//	5p                    the length in one byte and up to four bytes, one value
//	x                     a zero byte, no value
type Layout struct {
	format string
	order  binary.AppendByteOrder
	get    binary.ByteOrder
	native bool
	fields []field
	size   int
	values int
}

// A field is one letter of a format with its count.
type field struct {
	letter byte
	offset int
	width  int // bytes of one value
	count  int // values
}

// Compile parses a format. A mistake in it is an [*Error] with the condition
// [ErrMalformed], a layout of more than 64 MiB one with [ErrTooLarge].
func Compile(format string) (*Layout, error) {
	l := &Layout{format: format, order: binary.LittleEndian, get: binary.LittleEndian, native: true}
	wrong := func(at int, kind error, reason string, args ...any) error {
		return &Error{"struct", "compile", int64(at), fmt.Sprintf(reason, args...), kind}
	}
	at := 0
	if format != "" {
		switch format[0] {
		case '>', '!':
			l.order, l.get = binary.BigEndian, binary.BigEndian
			fallthrough
		case '<', '=':
			l.native = false
			fallthrough
		case '@':
			at++
		}
	}
	for ; at < len(format); at++ {
		c := format[at]
		if c == ' ' || c >= '\t' && c <= '\r' {
			continue
		}
		count, counted := 1, false
		for ; c >= '0' && c <= '9'; c = format[at] {
			if !counted {
				count, counted = 0, true
			}
			if count = count*10 + int(c-'0'); count > maxLayout {
				return nil, wrong(at, ErrTooLarge, "a count of more than %d", maxLayout)
			}
			if at++; at == len(format) {
				return nil, wrong(at, ErrMalformed, "a count without a letter")
			}
		}
		width := l.width(c)
		if width == 0 {
			return nil, wrong(at, ErrMalformed, "%q is no letter of a format", c)
		}
		f := field{letter: c, offset: l.size, width: width, count: count}
		if l.native {
			f.offset = (l.size + width - 1) / width * width
		}
		l.size = f.offset + width*count
		if l.size > maxLayout {
			return nil, wrong(at, ErrTooLarge, "more than %d bytes", maxLayout)
		}
		switch c {
		case 's', 'p':
			f.width, f.count = count, 1
		case 'x':
			continue
		}
		l.values += f.count
		l.fields = append(l.fields, f)
	}
	return l, nil
}

// width returns the size of a letter's value in bytes, for s, p and x that of one
// byte of it; 0 if there is no such letter.
func (l *Layout) width(letter byte) int {
	switch letter {
	case 'x', 'c', 'b', 'B', '?', 's', 'p':
		return 1
	case 'h', 'H', 'e':
		return 2
	case 'i', 'I', 'f':
		return 4
	case 'l', 'L':
		if !l.native {
			return 4
		}
		return 8
	case 'q', 'Q', 'd':
		return 8
	case 'n', 'N', 'P':
		if l.native {
			return 8
		}
	}
	return 0
}

// Size returns how many bytes a packed layout has.
func (l *Layout) Size() int { return l.size }

// Values returns how many values go into it.
func (l *Layout) Values() int { return l.values }

// Pack returns values as the layout puts them, after checking that each fits: an
// integer of any Go type, or a json.Number, for the integer letters; those and
// floats for e, f and d; []byte or string for c, s and p; anything for ?, which
// asks whether it is zero or empty. What does not fit is an [*Error] with the
// condition [ErrUnfit].
func (l *Layout) Pack(values ...any) ([]byte, error) {
	if len(values) != l.values {
		return nil, unfit("struct", -1, "%d values for a format of %d", len(values), l.values)
	}
	out := make([]byte, 0, l.size)
	for i, f := range l.fields {
		out = append(out, make([]byte, f.offset-len(out))...)
		for n := range f.count {
			var err error
			if out, err = l.pack(out, f, values[n]); err != nil {
				return nil, unfit("struct", -1, "value %d, %q: %v", l.before(i)+n, f.letter, err)
			}
		}
		values = values[f.count:]
	}
	return append(out, make([]byte, l.size-len(out))...), nil
}

// before returns how many values come before a field.
func (l *Layout) before(field int) int {
	n := 0
	for _, f := range l.fields[:field] {
		n += f.count
	}
	return n
}

func (l *Layout) pack(out []byte, f field, value any) ([]byte, error) {
	switch f.letter {
	case '?':
		if truth(value) {
			return append(out, 1), nil
		}
		return append(out, 0), nil
	case 'c', 's', 'p':
		var b []byte
		switch v := value.(type) {
		case []byte:
			b = v
		case string:
			b = []byte(v)
		default:
			return nil, fmt.Errorf("%T, not bytes", value)
		}
		start := len(out)
		switch {
		case f.letter == 'c' && len(b) != 1:
			return nil, fmt.Errorf("%d bytes, not one", len(b))
		case f.letter == 'p' && f.width > 0:
			b = b[:min(len(b), f.width-1)]
			out = append(out, byte(min(len(b), 255)))
		}
		out = append(out, b[:min(len(b), f.width-(len(out)-start))]...)
		return append(out, make([]byte, f.width-(len(out)-start))...), nil
	case 'e', 'f', 'd':
		x, err := toFloat(value)
		if err != nil {
			return nil, err
		}
		return l.packFloat(out, f.letter, x)
	}
	n, err := toInt(value)
	if err != nil {
		return nil, err
	}
	bits := 8 * f.width
	signed := f.letter >= 'a'
	switch {
	case f.letter == 'P' && n.neg: // an address; CPython takes negative ones too
	case n.neg && (!signed || int64(n.bits) < -1<<(bits-1)),
		!n.neg && signed && n.bits > 1<<(bits-1)-1,
		!n.neg && !signed && n.bits > 1<<bits-1:
		return nil, fmt.Errorf("%v does not fit %d bits", value, bits)
	}
	return l.appendUint(out, n.bits, f.width), nil
}

func (l *Layout) appendUint(out []byte, v uint64, width int) []byte {
	switch width {
	case 1:
		return append(out, byte(v))
	case 2:
		return l.order.AppendUint16(out, uint16(v))
	case 4:
		return l.order.AppendUint32(out, uint32(v))
	}
	return l.order.AppendUint64(out, v)
}

func (l *Layout) packFloat(out []byte, letter byte, x float64) ([]byte, error) {
	switch letter {
	case 'e':
		half, ok := toHalf(x)
		if !ok {
			return nil, fmt.Errorf("%v is too large", x)
		}
		return l.order.AppendUint16(out, half), nil
	case 'f':
		single := float32(x)
		// C's own conversion, which @ stands for, makes an infinity of it.
		if math.IsInf(float64(single), 0) && !math.IsInf(x, 0) && !l.native {
			return nil, fmt.Errorf("%v is too large", x)
		}
		return l.order.AppendUint32(out, math.Float32bits(single)), nil
	}
	return l.order.AppendUint64(out, math.Float64bits(x)), nil
}

// Unpack returns the values in data, which must have the layout's size: int64
// for b, h, i, l, q and n; uint64 for B, H, I, L, Q, N and P; bool for ?; float64
// for e, f and d; []byte for c, s and p. Filling bytes are ignored, as in Python.
func (l *Layout) Unpack(data []byte) ([]any, error) {
	if len(data) != l.size {
		return nil, malformed("struct", -1, "%d bytes for a format of %d", len(data), l.size)
	}
	values := make([]any, 0, l.values)
	for _, f := range l.fields {
		for n := range f.count {
			values = append(values, l.unpack(f, data[f.offset+n*f.width:][:f.width]))
		}
	}
	return values, nil
}

func (l *Layout) unpack(f field, b []byte) any {
	switch f.letter {
	case '?':
		return b[0] != 0
	case 'c', 's':
		return append([]byte{}, b...)
	case 'p':
		if len(b) == 0 {
			return []byte{}
		}
		return append([]byte{}, b[1:1+min(int(b[0]), len(b)-1)]...)
	}
	var v uint64
	switch f.width {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(l.get.Uint16(b))
	case 4:
		v = uint64(l.get.Uint32(b))
	case 8:
		v = l.get.Uint64(b)
	}
	switch f.letter {
	case 'e':
		return fromHalf(uint16(v))
	case 'f':
		return float64(math.Float32frombits(uint32(v)))
	case 'd':
		return math.Float64frombits(v)
	}
	if f.letter < 'a' {
		return v
	}
	unused := 64 - 8*f.width
	return int64(v<<unused) >> unused
}

// Pack is [Compile] and [Layout.Pack] in one.
func Pack(format string, values ...any) ([]byte, error) {
	l, err := Compile(format)
	if err != nil {
		return nil, err
	}
	return l.Pack(values...)
}

// Unpack is [Compile] and [Layout.Unpack] in one.
func Unpack(format string, data []byte) ([]any, error) {
	l, err := Compile(format)
	if err != nil {
		return nil, err
	}
	return l.Unpack(data)
}

// An integer is any value of int64 and uint64, in two's complement.
type integer struct {
	bits uint64
	neg  bool
}

func toInt(value any) (integer, error) {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return integer{uint64(v.Int()), v.Int() < 0}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return integer{v.Uint(), false}, nil
	case reflect.Bool:
		if v.Bool() {
			return integer{1, false}, nil
		}
		return integer{}, nil
	}
	if n, ok := value.(json.Number); ok && !strings.ContainsAny(n.String(), ".eE") {
		if v, err := strconv.ParseUint(strings.TrimPrefix(n.String(), "-"), 10, 64); err == nil {
			if !strings.HasPrefix(n.String(), "-") {
				return integer{v, false}, nil
			}
			if v <= 1<<63 {
				return integer{-v, v > 0}, nil
			}
		}
		return integer{}, errors.New("the number does not fit 64 bits")
	}
	return integer{}, fmt.Errorf("%T, no integer", value)
}

func toFloat(value any) (float64, error) {
	v := reflect.ValueOf(value)
	if v.CanFloat() {
		return v.Float(), nil
	}
	if n, ok := value.(json.Number); ok {
		return n.Float64()
	}
	n, err := toInt(value)
	if err != nil {
		return 0, fmt.Errorf("%T, no number", value)
	}
	if n.neg {
		return float64(int64(n.bits)), nil
	}
	return float64(n.bits), nil
}

// truth is what Python takes a value for in a condition.
func truth(value any) bool {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Invalid:
		return false
	case reflect.String:
		if n, ok := value.(json.Number); ok {
			x, err := n.Float64()
			return err != nil || x != 0
		}
		return v.Len() > 0
	case reflect.Slice, reflect.Map, reflect.Array:
		return v.Len() > 0
	case reflect.Float32, reflect.Float64:
		return v.Float() != 0
	default:
		return !v.IsZero()
	}
}

// toHalf rounds to the nearest number of 16 bits, to the even one where two are
// as near: a sign, five bits of exponent, ten of fraction.
func toHalf(x float64) (half uint16, ok bool) {
	bits := math.Float64bits(x)
	sign := uint16(bits >> 48 & 0x8000)
	switch {
	case math.IsNaN(x):
		return sign | 0x7E00, true
	case math.IsInf(x, 0):
		return sign | 0x7C00, true
	}
	const smallest = 1.0 / (1 << 24) // the smallest above zero
	abs := math.Abs(x)
	if abs < 1.0/(1<<14) { // below the smallest with a full fraction: multiples of smallest
		return sign | uint16(math.RoundToEven(abs/smallest)), true
	}
	fraction, exponent := math.Frexp(abs) // fraction in [0.5, 1)
	n := int(math.RoundToEven(fraction * (1 << 11)))
	// n is 1024 to 2048; the carry of the last goes into the exponent.
	n += (exponent + 14 - 1) << 10
	if n >= 0x7C00 {
		return 0, false
	}
	return sign | uint16(n), true
}

func fromHalf(half uint16) float64 {
	exponent, fraction := int(half>>10&0x1F), float64(half&0x3FF)
	var x float64
	switch exponent {
	case 0:
		x = math.Ldexp(fraction, -24)
	case 0x1F:
		if x = math.Inf(1); fraction != 0 {
			x = math.NaN()
		}
	default:
		x = math.Ldexp(fraction+1024, exponent-25)
	}
	if half&0x8000 != 0 {
		x = -x
	}
	return x
}
