package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// ErrMiss says that a key is not in the cache: it was never stored, has been
// deleted or evicted, or its time is over.
var ErrMiss = errors.New("cache: miss")

// A Store keeps bytes under keys for a time. *[Client] is one; so is anything
// else that outlives the process.
type Store interface {
	// Get returns the value of key, or an error that is ErrMiss.
	Get(ctx context.Context, key string) ([]byte, error)

	// Set stores value for ttl, or without limit if ttl is 0.
	Set(ctx context.Context, key string, value []byte, ttl time.Duration) error

	// Delete removes key. Its error may be ErrMiss if there was nothing.
	Delete(ctx context.Context, key string) error
}

// A memory is where a Memo keeps its records: in this process or in a Store.
type memory[K comparable, V any] interface {
	get(ctx context.Context, key K) (memoRecord[V], error)
	set(ctx context.Context, key K, r memoRecord[V], ttl time.Duration) error
	delete(ctx context.Context, key K) error
}

// inProcess is a memory in this process.
type inProcess[K comparable, V any] struct{ local *Local[K, memoRecord[V]] }

func newInProcess[K comparable, V any](cfg *MemoConfig[K, V]) inProcess[K, V] {
	c := Config[K, memoRecord[V]]{Max: cfg.Max}
	if cfg.Size != nil {
		c.Size = func(key K, r memoRecord[V]) int { return cfg.Size(key, r.value) }
	}
	return inProcess[K, V]{NewSharded(c)}
}

func (p inProcess[K, V]) get(_ context.Context, key K) (memoRecord[V], error) {
	r, ok := p.local.Get(key)
	if !ok {
		return r, ErrMiss
	}
	return r, nil
}

func (p inProcess[K, V]) set(_ context.Context, key K, r memoRecord[V], ttl time.Duration) error {
	p.local.SetFor(key, r, ttl) // what is too large is not remembered
	return nil
}

func (p inProcess[K, V]) delete(_ context.Context, key K) error {
	p.local.Delete(key)
	return nil
}

// remote is a memory in a Store.
type remote[K comparable, V any] struct {
	store     Store
	name      string
	kind      reflect.Kind // of K
	marshal   func(V) ([]byte, error)
	unmarshal func([]byte) (V, error)
}

func newRemote[K comparable, V any](cfg *MemoConfig[K, V]) *remote[K, V] {
	r := &remote[K, V]{cfg.Store, cfg.Name, reflect.TypeFor[K]().Kind(), cfg.Marshal, cfg.Unmarshal}
	if r.marshal == nil {
		r.marshal = func(v V) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(&v)
			return b.Bytes(), err
		}
	}
	if r.unmarshal == nil {
		r.unmarshal = func(b []byte) (v V, err error) {
			return v, gob.NewDecoder(bytes.NewReader(b)).Decode(&v)
		}
	}
	return r
}

// key returns the key in the store.
func (m *remote[K, V]) key(k K) string {
	var text string
	switch v := reflect.ValueOf(k); m.kind {
	case reflect.String:
		text = v.String()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		text = strconv.FormatInt(v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		text = strconv.FormatUint(v.Uint(), 10)
	default: // %#v tells {"a b", "c"} from {"a", "b c"}, and an int from an int64 in an interface
		text = fmt.Sprintf("%T%#v", k, k)
	}
	text = m.name + ":" + text
	if !validKey(text) {
		sum := sha256.Sum256([]byte(text))
		text = hex.EncodeToString(sum[:])
	}
	return text
}

func (m *remote[K, V]) get(ctx context.Context, k K) (r memoRecord[V], err error) {
	key := m.key(k)
	b, err := m.store.Get(ctx, key)
	if err != nil {
		return r, err
	}
	payload, notFound, fresh, ok := parseMemo(b)
	if !ok {
		return r, fmt.Errorf("cache: memo: %s holds nothing that a memo has stored", key)
	}
	r.notFound, r.fresh = notFound, fresh
	if !notFound {
		if r.value, err = m.unmarshal(payload); err != nil {
			return r, fmt.Errorf("cache: memo: %s: %w", key, err)
		}
	}
	return r, nil
}

func (m *remote[K, V]) set(ctx context.Context, k K, r memoRecord[V], ttl time.Duration) error {
	var payload []byte
	if !r.notFound {
		var err error
		if payload, err = m.marshal(r.value); err != nil {
			return fmt.Errorf("cache: memo: %s: %w", m.key(k), err)
		}
	}
	return m.store.Set(ctx, m.key(k), appendMemo(nil, payload, r.notFound, r.fresh), ttl)
}

func (m *remote[K, V]) delete(ctx context.Context, k K) error {
	if err := m.store.Delete(ctx, m.key(k)); !errors.Is(err, ErrMiss) {
		return err
	}
	return nil
}

// appendMemo writes a record as it stands in a Store: "v" for a value or "n"
// for not found, until when it is fresh in decimal milliseconds since 1970 (0
// means for ever), a space, and the value's bytes. A person can read it.
func appendMemo(dst, payload []byte, notFound bool, fresh time.Time) []byte {
	kind, ms := byte('v'), int64(0)
	if notFound {
		kind = 'n'
	}
	if !fresh.IsZero() {
		ms = max(1, fresh.UnixMilli())
	}
	dst = strconv.AppendInt(append(dst, kind), ms, 10)
	return append(append(dst, ' '), payload...)
}

// parseMemo is the inverse of appendMemo; ok is false for anything else.
func parseMemo(b []byte) (payload []byte, notFound bool, fresh time.Time, ok bool) {
	head, payload, found := bytes.Cut(b, []byte(" "))
	if !found || len(head) < 2 || head[0] != 'v' && head[0] != 'n' || head[0] == 'n' && len(payload) > 0 {
		return nil, false, fresh, false
	}
	ms, err := strconv.ParseUint(string(head[1:]), 10, 63)
	if err != nil || head[1] == '0' && len(head) > 2 {
		return nil, false, fresh, false
	}
	if ms > 0 {
		fresh = time.UnixMilli(int64(min(ms, math.MaxInt64)))
	}
	return payload, head[0] == 'n', fresh, true
}
