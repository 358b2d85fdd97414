package codec

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// A packDecoder makes Go values of MessagePack that [MessagePack.Check] has
// found well: it looks at no length again, and its depth is bounded.
//
// It stands here because the library's decoder cannot be kept to what was
// checked: where it wants a map and meets an extension, it takes the content of
// that for the map. The library decodes only types that bring methods for it,
// and sees nothing beyond their own bytes.
type packDecoder struct {
	data []byte
	at   int
}

func (d *packDecoder) wrong(at int, format string, args ...any) error {
	return malformed("msgpack", int64(at), format, args...)
}

// next takes the item at hand; of arrays and maps, the announcement alone.
func (d *packDecoder) next() (k kind, content []byte, n int) {
	k, start, n := item(d.data, d.at)
	if k == kindArray || k == kindMap {
		d.at = start
		return k, nil, n
	}
	d.at = start + n
	return k, d.data[start:d.at:d.at], n
}

// skip moves behind the value at hand.
func (d *packDecoder) skip() {
	for owed := 1; owed > 0; owed-- {
		switch k, _, n := d.next(); k {
		case kindArray:
			owed += n
		case kindMap:
			owed += 2 * n
		}
	}
}

// number reads the content of a kindInt or kindUint. neg says that it is to be
// read as an int64.
func number(k kind, b []byte) (v uint64, neg bool) {
	switch len(b) {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(binary.BigEndian.Uint16(b))
	case 4:
		v = uint64(binary.BigEndian.Uint32(b))
	default:
		v = binary.BigEndian.Uint64(b)
	}
	if k == kindInt {
		unused := 64 - 8*len(b)
		v = uint64(int64(v<<unused) >> unused)
		neg = int64(v) < 0
	}
	return v, neg
}

func float(b []byte) float64 {
	if len(b) == 4 {
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b))
}

// instant reads the content of a timestamp.
func instant(b []byte) time.Time {
	switch len(b) {
	case 4:
		return time.Unix(int64(binary.BigEndian.Uint32(b)), 0)
	case 8:
		v := binary.BigEndian.Uint64(b)
		return time.Unix(int64(v&(1<<34-1)), int64(v>>34))
	}
	return time.Unix(int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b)))
}

// any returns the value at hand in the types that [MessagePack] lists.
func (d *packDecoder) any() (any, error) {
	at := d.at
	k, content, n := d.next()
	switch k {
	case kindNil:
		return nil, nil
	case kindBool:
		return d.data[at] == 0xC3, nil
	case kindInt, kindUint:
		v, neg := number(k, content)
		if !neg && v > math.MaxInt64 {
			return v, nil
		}
		return int64(v), nil
	case kindFloat:
		if n == 4 {
			return math.Float32frombits(binary.BigEndian.Uint32(content)), nil
		}
		return float(content), nil
	case kindStr:
		return string(content), nil
	case kindBin:
		return bytes.Clone(content), nil
	case kindExt:
		if typ := d.extType(content); typ != timestamp {
			return Ext{typ, bytes.Clone(content)}, nil
		}
		return instant(content), nil
	case kindArray:
		list := make([]any, n)
		for i := range list {
			var err error
			if list[i], err = d.any(); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return d.anyMap(n)
}

// extType returns the type of the extension whose content was taken last.
func (d *packDecoder) extType(content []byte) int8 { return int8(d.data[d.at-len(content)-1]) }

// anyMap returns a map of n pairs.
func (d *packDecoder) anyMap(n int) (any, error) {
	byName := make(map[string]any, n)
	for i := range n {
		at := d.at
		if k, start, size := item(d.data, at); k == kindStr {
			d.at = start + size
			v, err := d.any()
			if err != nil {
				return nil, err
			}
			byName[string(d.data[start:start+size])] = v
			continue
		}
		byAny := make(map[any]any, n)
		for name, v := range byName {
			byAny[name] = v
		}
		for range n - i {
			at := d.at
			key, err := d.any()
			if err != nil {
				return nil, err
			}
			if key != nil && !reflect.ValueOf(key).Comparable() {
				return nil, d.wrong(at, "a map with a key that Go's maps cannot have: %T", key)
			}
			v, err := d.any()
			if err != nil {
				return nil, err
			}
			byAny[key] = v
		}
		return byAny, nil
	}
	return byName, nil
}

// value stores the value at hand into v.
func (d *packDecoder) value(v reflect.Value) error {
	at := d.at
	p := planOf(v.Type())
	k, start, n := item(d.data, at)
	if k == kindNil {
		d.at = start
		v.SetZero()
		return nil
	}
	if p.custom != nil {
		d.skip()
		if err := p.custom(v, d.data[at:d.at:d.at]); err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok {
				e = failed("msgpack", "decode", ErrMalformed, err).(*Error)
			}
			e.Offset = max(e.Offset, 0) + int64(at)
			return e
		}
		return nil
	}
	mismatch := func() error { return d.wrong(at, "%v where Go has %v", k, v.Type()) }
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return d.value(v.Elem())
	case reflect.Interface:
		if v.NumMethod() > 0 {
			return mismatch()
		}
		got, err := d.any()
		if err == nil {
			v.Set(reflect.ValueOf(&got).Elem())
		}
		return err
	case reflect.Struct:
		return d.structure(v, p, k, n, mismatch)
	case reflect.Map:
		if k != kindMap {
			return mismatch()
		}
		d.at = start
		return d.mapping(v, n)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 && (k == kindBin || k == kindStr) {
			break
		}
		if k != kindArray {
			return mismatch()
		}
		d.at = start
		return d.list(v, n, at)
	}
	_, content, _ := d.next()
	switch v.Kind() {
	case reflect.Bool:
		if k != kindBool {
			return mismatch()
		}
		v.SetBool(d.data[at] == 0xC3)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if k != kindInt && k != kindUint {
			return mismatch()
		}
		x, neg := number(k, content)
		if !neg && x > math.MaxInt64 || v.OverflowInt(int64(x)) {
			return d.wrong(at, "a number that does not fit %v", v.Type())
		}
		v.SetInt(int64(x))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if k != kindInt && k != kindUint {
			return mismatch()
		}
		x, neg := number(k, content)
		if neg || v.OverflowUint(x) {
			return d.wrong(at, "a number that does not fit %v", v.Type())
		}
		v.SetUint(x)
	case reflect.Float32, reflect.Float64:
		var x float64
		switch k {
		case kindFloat:
			x = float(content)
		case kindInt, kindUint:
			i, neg := number(k, content)
			if x = float64(i); neg {
				x = float64(int64(i))
			}
		default:
			return mismatch()
		}
		if v.OverflowFloat(x) {
			return d.wrong(at, "a number that does not fit %v", v.Type())
		}
		v.SetFloat(x)
	case reflect.String:
		if k != kindStr && k != kindBin {
			return mismatch()
		}
		v.SetString(string(content))
	case reflect.Slice:
		v.SetBytes(bytes.Clone(content))
	case reflect.Array:
		if len(content) > v.Len() {
			return d.wrong(at, "%d bytes where Go has %v", len(content), v.Type())
		}
		v.SetZero()
		copy(v.Bytes(), content)
	default:
		return mismatch()
	}
	return nil
}

// list stores n elements into a slice or an array.
func (d *packDecoder) list(v reflect.Value, n, at int) error {
	if v.Kind() == reflect.Array {
		if n > v.Len() {
			return d.wrong(at, "%d elements where Go has %v", n, v.Type())
		}
		v.SetZero()
	} else {
		v.Set(reflect.MakeSlice(v.Type(), n, n))
	}
	for i := range n {
		if err := d.value(v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// mapping adds n pairs to a map.
func (d *packDecoder) mapping(v reflect.Value, n int) error {
	t := v.Type()
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(t, n))
	}
	key, elem := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
	for range n {
		at := d.at
		key.SetZero()
		if err := d.value(key); err != nil {
			return err
		}
		if !key.Comparable() {
			return d.wrong(at, "a map with a key that Go's maps cannot have")
		}
		elem.SetZero()
		if err := d.value(elem); err != nil {
			return err
		}
		v.SetMapIndex(key, elem)
	}
	return nil
}

// structure stores a map by the names of the fields, or an array by their order.
func (d *packDecoder) structure(v reflect.Value, p *plan, k kind, n int, mismatch func() error) error {
	at := d.at
	switch k {
	case kindArray:
		d.next()
		if n != len(p.order) {
			return d.wrong(at, "an array of %d where %v has %d fields", n, v.Type(), len(p.order))
		}
		for _, f := range p.order {
			if err := d.value(fieldAt(v, f.index)); err != nil {
				return err
			}
		}
		return nil
	case kindMap:
		d.next()
	default:
		return mismatch()
	}
	for range n {
		at := d.at
		k, name, _ := d.next()
		if k != kindStr && k != kindBin {
			return d.wrong(at, "%v as the name of a field of %v", k, v.Type())
		}
		index, ok := p.fields[string(name)]
		if !ok {
			d.skip()
			continue
		}
		if err := d.value(fieldAt(v, index)); err != nil {
			return err
		}
	}
	return nil
}

// fieldAt returns a field, making the embedded structs on the way.
func fieldAt(v reflect.Value, index []int) reflect.Value {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v
}

// A plan is what is known of a type once and for all.
type plan struct {
	custom func(v reflect.Value, data []byte) error // how the type decodes itself; nil if it does not
	fields map[string][]int                         // of a struct, by name
	order  []place
}

// A place is a field by its name and by where reflection finds it.
type place struct {
	name  string
	index []int
}

// plans holds the plan of each type that was met. A program has only so many.
var plans sync.Map // of reflect.Type to *plan

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := &plan{custom: customOf(t)}
	if p.custom == nil && t.Kind() == reflect.Struct {
		p.fields = make(map[string][]int)
		p.add(t)
	}
	got, _ := plans.LoadOrStore(t, p)
	return got.(*plan)
}

// add adds the fields of a struct type under the names that the library gives
// them when it encodes. Those of an embedded struct count as the outer one's own,
// unless one of them has a name that is taken, or the tag says otherwise.
func (p *plan) add(t reflect.Type, around ...reflect.Type) {
	around = append(around, t)
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("msgpack"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if name == "" {
			name = f.Name
		}
		index := []int{i}
		if f.Anonymous && !has(options, "noinline") {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			reachable := f.IsExported() || f.Type == inner // reflection cannot set the others
			if inner.Kind() == reflect.Struct && reachable && customOf(inner) == nil && !slices.Contains(around, inner) &&
				p.inline(inner, index, has(options, "inline"), around) {
				p.fields[name] = index
				continue
			}
		}
		if !f.IsExported() {
			continue
		}
		p.fields[name] = index
		p.order = append(p.order, place{name, index})
		for option := range strings.SplitSeq(options, ",") {
			if alias, ok := strings.CutPrefix(option, "alias:"); ok {
				p.fields[alias] = index
			}
		}
	}
}

func has(options, option string) bool {
	return strings.Contains(","+options+",", ","+option+",")
}

// inline adds the fields of the struct type t that is embedded at index, and
// says whether it could: where always is set it leaves out those whose names are
// taken, else it then adds none.
func (p *plan) inline(t reflect.Type, index []int, always bool, around []reflect.Type) bool {
	inner := plan{fields: make(map[string][]int)}
	inner.add(t, around...)
	for name := range inner.fields {
		if _, taken := p.fields[name]; taken && !always {
			return false
		}
	}
	for _, f := range inner.order {
		if _, taken := p.fields[f.name]; !taken {
			p.order = append(p.order, place{f.name, slices.Concat(index, f.index)})
		}
	}
	for name, at := range inner.fields {
		if _, taken := p.fields[name]; !taken {
			p.fields[name] = slices.Concat(index, at)
		}
	}
	return true
}

// customOf returns how a type decodes itself, nil if it does not.
func customOf(t reflect.Type) func(v reflect.Value, data []byte) error {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return nil // what it points at is asked
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return decodeTime
	case reflect.TypeFor[Ext]():
		return decodeExt
	}
	switch p := reflect.PointerTo(t); {
	case p.Implements(reflect.TypeFor[msgpack.CustomDecoder]()), p.Implements(reflect.TypeFor[msgpack.Unmarshaler]()):
		return decodeByMethod
	case p.Implements(reflect.TypeFor[encoding.BinaryUnmarshaler]()):
		return func(v reflect.Value, data []byte) error {
			content, err := contentOf(v, data)
			if err != nil {
				return err
			}
			return v.Addr().Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(content)
		}
	case p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return func(v reflect.Value, data []byte) error {
			content, err := contentOf(v, data)
			if err != nil {
				return err
			}
			return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(content)
		}
	}
	return nil
}

// contentOf returns a copy of the bytes of a string or of bytes.
func contentOf(v reflect.Value, data []byte) ([]byte, error) {
	d := packDecoder{data: data}
	k, content, _ := d.next()
	if k != kindStr && k != kindBin {
		return nil, d.wrong(0, "%v where Go has %v", k, v.Type())
	}
	return bytes.Clone(content), nil
}

func decodeTime(v reflect.Value, data []byte) error {
	d := packDecoder{data: data}
	k, content, _ := d.next()
	if k != kindExt || d.extType(content) != timestamp {
		return d.wrong(0, "%v, no timestamp, where Go has %v", k, v.Type())
	}
	v.Set(reflect.ValueOf(instant(content)))
	return nil
}

func decodeExt(v reflect.Value, data []byte) error {
	d := packDecoder{data: data}
	k, content, _ := d.next()
	if k != kindExt {
		return d.wrong(0, "%v where Go has %v", k, v.Type())
	}
	v.Set(reflect.ValueOf(Ext{d.extType(content), bytes.Clone(content)}))
	return nil
}

// decodeByMethod gives a type with methods for it its own bytes and no more.
func decodeByMethod(v reflect.Value, data []byte) (err error) {
	data = bytes.Clone(data) // which the type may keep
	if u, ok := v.Addr().Interface().(msgpack.Unmarshaler); ok {
		if _, both := u.(msgpack.CustomDecoder); !both {
			return u.UnmarshalMsgpack(data)
		}
	}
	dec := msgpack.NewDecoder(bytes.NewReader(data))
	if err := v.Addr().Interface().(msgpack.CustomDecoder).DecodeMsgpack(dec); err != nil {
		return fmt.Errorf("%v: %w", v.Type(), err)
	}
	return nil
}
