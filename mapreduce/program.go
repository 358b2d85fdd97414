package mapreduce

import (
	"context"
	"fmt"
	"iter"
	"sync"
)

// A program is a Job without its types: keys and values are bytes.
type program struct {
	name       string
	params     map[string]string
	whole      bool
	maxRecord  int
	maxSkipped int

	compare   func(a, b []byte) int // nil: bytes.Compare
	partition func(key []byte, n int) int
	combine   func(dst, a, b []byte) ([]byte, error) // appends to dst; nil: none

	// newMapper begins a map task: what its mapper emits goes to m.add, or
	// past it to a table of its own. newReducer begins a reduce task: its output
	// goes to r.write. ctx is that of the task.
	newMapper  func(ctx context.Context, m *mapTask) (mapper, error)
	newReducer func(ctx context.Context, r *reduceTask) (reducer, error)

	keyText, valueText textForm // for Hadoop Streaming

	mu   sync.Mutex
	free []collector // for the next map task in this process
}

// take returns a collector that is free, or a new one.
func (p *program) take(make func() collector) collector {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	return make()
}

// give gives a collector back, empty.
func (p *program) give(c collector) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, c)
}

// part returns which of n partitions a key belongs to.
func (p *program) part(key []byte, n int) int {
	if n <= 1 {
		return 0
	}
	if p.partition != nil {
		part := p.partition(key, n)
		if part < 0 || part >= n {
			panic(fmt.Sprintf("Partition gave %d of %d", part, n))
		}
		return part
	}
	h := uint64(14695981039346656037) // FNV-1a: the same in every process
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return int((h >> 32) * uint64(n) >> 32)
}

// A textForm turns encoded keys or values into text and back.
type textForm struct {
	format func(dst, encoded []byte) ([]byte, error)
	parse  func(dst, text []byte) ([]byte, error) // appends the encoded form
	none   bool                                   // there is never any text, as for struct{}
}

// A mapper maps the records of one task, in order; close ends it.
type mapper interface {
	Map(rec Record) error
	Close() error
}

// A reducer reduces the groups of one task, in order of keys; close ends it.
type reducer interface {
	Reduce(key []byte, values iter.Seq[[]byte]) error
	Close() error
}
