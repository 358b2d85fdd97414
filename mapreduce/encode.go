package mapreduce

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
)

// A coder turns keys or values of one type into bytes and back.
type coder[T any] struct {
	append func(dst []byte, v T) ([]byte, error)
	decode func(b []byte) (T, error) // what it gives may lie in b
	bytes  func(v T) []byte          // if T is []byte: v is its own encoding
	keep   func(v T) T               // if T is []byte: a copy that lasts
	lent   func(v, b T) bool         // if T is []byte: whether v lies in the memory of b
	size   func(v T) int             // of what v points to; nil: nothing, or unknown
}

var errShort = errors.New("mapreduce: encoded value has a wrong length")

// coderOf returns the coder of T. Numbers that are keys get the same length and
// sort as bytes like the numbers themselves; numbers that are values get as few
// bytes as they need.
func coderOf[T any](key bool) coder[T] {
	var c coder[T]
	switch c := any(&c).(type) {
	case *coder[[]byte]:
		c.append = func(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
		c.decode = func(b []byte) ([]byte, error) { return slices.Clip(b), nil }
		c.bytes = func(v []byte) []byte { return v }
		c.keep = bytes.Clone
		c.lent = func(v, b []byte) bool { // slices of one array end at the same place
			return cap(v) > 0 && cap(b) > 0 && &v[:cap(v)][cap(v)-1] == &b[:cap(b)][cap(b)-1]
		}
		c.size = func(v []byte) int { return cap(v) }
	case *coder[string]:
		c.append = func(dst []byte, v string) ([]byte, error) { return append(dst, v...), nil }
		c.decode = func(b []byte) (string, error) { return string(b), nil }
		c.size = func(v string) int { return len(v) }
	case *coder[[]string]:
		c.append = func(dst []byte, v []string) ([]byte, error) {
			for _, s := range v {
				dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
			}
			return dst, nil
		}
		c.decode = decodeStrings
		c.size = func(v []string) int { return cap(v) * 16 } // the bytes of strings are often shared
	case *coder[int]:
		signed(c, key)
	case *coder[int64]:
		signed(c, key)
	case *coder[int32]:
		signed(c, key)
	case *coder[uint]:
		unsigned(c, key)
	case *coder[uint64]:
		unsigned(c, key)
	case *coder[uint32]:
		unsigned(c, key)
	}
	if c.append == nil {
		other(&c, key)
	}
	return c
}

func signed[T int | int32 | int64](c *coder[T], key bool) {
	c.append = func(dst []byte, v T) ([]byte, error) { return appendInt(dst, int64(v), key), nil }
	c.decode = func(b []byte) (T, error) { v, err := decodeInt(b, key); return T(v), err }
}

func unsigned[T uint | uint32 | uint64](c *coder[T], key bool) {
	c.append = func(dst []byte, v T) ([]byte, error) { return appendUint(dst, uint64(v), key), nil }
	c.decode = func(b []byte) (T, error) { v, err := decodeUint(b, key); return T(v), err }
}

func appendInt(dst []byte, v int64, key bool) []byte {
	if key {
		return binary.BigEndian.AppendUint64(dst, uint64(v)^1<<63) // negative ones first
	}
	return binary.AppendVarint(dst, v)
}

func decodeInt(b []byte, key bool) (int64, error) {
	if key {
		v, err := decodeUint(b, key)
		return int64(v ^ 1<<63), err
	}
	v, n := binary.Varint(b)
	if n != len(b) || n == 0 {
		return 0, errShort
	}
	return v, nil
}

func appendUint(dst []byte, v uint64, key bool) []byte {
	if key {
		return binary.BigEndian.AppendUint64(dst, v)
	}
	return binary.AppendUvarint(dst, v)
}

func decodeUint(b []byte, key bool) (uint64, error) {
	if key {
		if len(b) != 8 {
			return 0, errShort
		}
		return binary.BigEndian.Uint64(b), nil
	}
	v, n := binary.Uvarint(b)
	if n != len(b) || n == 0 {
		return 0, errShort
	}
	return v, nil
}

func decodeStrings(b []byte) (v []string, err error) {
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, errShort
		}
		v = append(v, string(b[size:size+int(n)]))
		b = b[size+int(n):]
	}
	return v, nil
}

// appendFloat keeps order too: positive numbers sort like their bits, negative
// ones the other way round.
func appendFloat(dst []byte, f float64) []byte {
	v := math.Float64bits(f)
	if v>>63 == 0 {
		v |= 1 << 63
	} else {
		v = ^v
	}
	return binary.BigEndian.AppendUint64(dst, v)
}

func decodeFloat(b []byte) (float64, error) {
	v, err := decodeUint(b, true)
	if v>>63 == 1 {
		v &^= 1 << 63
	} else {
		v = ^v
	}
	return math.Float64frombits(v), err
}

// other makes the coder of a type that is none of the common ones: by its own
// methods, else by its kind, else as JSON.
func other[T any](c *coder[T], key bool) {
	t := reflect.TypeFor[T]()
	_, appends := any(new(T)).(encoding.BinaryAppender)
	_, decodes := any(new(T)).(encoding.BinaryUnmarshaler)
	switch {
	case appends && decodes:
		c.append = func(dst []byte, v T) ([]byte, error) {
			return any(&v).(encoding.BinaryAppender).AppendBinary(dst)
		}
		c.decode = func(b []byte) (v T, err error) {
			err = any(&v).(encoding.BinaryUnmarshaler).UnmarshalBinary(b)
			return v, err
		}
	case t.Kind() == reflect.String:
		c.append = func(dst []byte, v T) ([]byte, error) { return append(dst, reflect.ValueOf(v).String()...), nil }
		c.decode = decodeBy[T](func(b []byte, v reflect.Value) error { v.SetString(string(b)); return nil })
	case reflect.Int <= t.Kind() && t.Kind() <= reflect.Int64:
		c.append = func(dst []byte, v T) ([]byte, error) { return appendInt(dst, reflect.ValueOf(v).Int(), key), nil }
		c.decode = decodeBy[T](func(b []byte, v reflect.Value) error {
			i, err := decodeInt(b, key)
			v.SetInt(i)
			return err
		})
	case reflect.Uint <= t.Kind() && t.Kind() <= reflect.Uintptr:
		c.append = func(dst []byte, v T) ([]byte, error) { return appendUint(dst, reflect.ValueOf(v).Uint(), key), nil }
		c.decode = decodeBy[T](func(b []byte, v reflect.Value) error {
			u, err := decodeUint(b, key)
			v.SetUint(u)
			return err
		})
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		c.append = func(dst []byte, v T) ([]byte, error) { return appendFloat(dst, reflect.ValueOf(v).Float()), nil }
		c.decode = decodeBy[T](func(b []byte, v reflect.Value) error {
			f, err := decodeFloat(b)
			v.SetFloat(f)
			return err
		})
	case t.Size() == 0: // struct{}: nothing to send
		c.append = func(dst []byte, v T) ([]byte, error) { return dst, nil }
		c.decode = func(b []byte) (v T, err error) { return v, nil }
	default:
		c.append = func(dst []byte, v T) ([]byte, error) {
			text, err := json.Marshal(v)
			return append(dst, text...), err
		}
		c.decode = func(b []byte) (v T, err error) {
			err = json.Unmarshal(b, &v)
			return v, err
		}
	}
}

func decodeBy[T any](set func(b []byte, v reflect.Value) error) func(b []byte) (T, error) {
	return func(b []byte) (v T, err error) {
		err = set(b, reflect.ValueOf(&v).Elem())
		return v, err
	}
}

// orderOf returns how encoded keys are compared; nil means as bytes.
func orderOf[K any](c coder[K], compare func(a, b K) int) func(a, b []byte) int {
	if compare == nil {
		return nil
	}
	return func(a, b []byte) int {
		ka, err := c.decode(a)
		kb, err2 := c.decode(b)
		if err != nil || err2 != nil { // not our own bytes: any fixed order will do
			return bytes.Compare(a, b)
		}
		return compare(ka, kb)
	}
}

// tieBreak is the order in which different keys that are equal for the job's
// own comparison are stored.
func tieBreak(order func(a, b []byte) int, a, b []byte) int {
	if order == nil {
		return bytes.Compare(a, b)
	}
	return cmp.Or(order(a, b), bytes.Compare(a, b))
}
