package mq

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

// Frames that wait to be sent lie in blocks, encoded as they will be written:
// small ones behind each other, a large one in a block of its own, which the
// queues of several subscribers may share.
const (
	blockSize = 32 << 10
	bigFrame  = 8 << 10 // from here a frame has its own block
)

// A block is a piece of encoded frames.
type block struct {
	b    []byte
	ends bool // its last frame is the last of a message
	refs atomic.Int32
}

// blockPools hold blocks of 32 KiB, 64 KiB … 1 MiB, and a header.
var blockPools [6]sync.Pool

// blockClass returns the pool for blocks with room for n bytes.
func blockClass(n int) int {
	return bits.Len(uint(max(n-9, blockSize)-1)) - bits.Len(blockSize-1)
}

// newBlock returns an empty block with room for n bytes, and one reference.
func newBlock(n int) *block {
	class := blockClass(n)
	if class >= len(blockPools) {
		k := &block{b: make([]byte, 0, n)}
		k.refs.Store(1)
		return k
	}
	k, _ := blockPools[class].Get().(*block)
	if k == nil {
		k = &block{b: make([]byte, 0, blockSize<<class+9)}
	}
	k.refs.Store(1)
	return k
}

// release gives up one reference.
func (k *block) release() {
	if k.refs.Add(-1) > 0 {
		return
	}
	if class := blockClass(cap(k.b)); class < len(blockPools) {
		k.b = k.b[:0]
		blockPools[class].Put(k)
	}
}

// A backlog is a queue of encoded frames. It has no lock.
type backlog struct {
	blocks []*block
	open   bool // the last block may be appended to
}

// frame appends one frame.
func (q *backlog) frame(flags byte, body []byte) {
	if len(body) >= bigFrame {
		k := encodeBig(flags, body)
		q.share(k)
		k.release()
		return
	}
	k := q.tail(9 + len(body))
	k.b = appendFrame(k.b, flags, body)
	k.ends = flags&flagMore == 0
}

// encodeBig returns a block with one frame.
func encodeBig(flags byte, body []byte) *block {
	k := newBlock(9 + len(body))
	k.b = appendFrame(k.b, flags, body)
	k.ends = flags&flagMore == 0
	return k
}

// encoded appends bytes of frames; ends says that the last one ends a message.
func (q *backlog) encoded(b []byte, ends bool) {
	k := q.tail(len(b))
	k.b = append(k.b, b...)
	k.ends = ends
}

// share appends a block that others may hold too.
func (q *backlog) share(k *block) {
	k.refs.Add(1)
	q.blocks = append(q.blocks, k)
	q.open = false
}

// tail returns a block with room for n bytes more.
func (q *backlog) tail(n int) *block {
	if last := len(q.blocks) - 1; last >= 0 && q.open {
		if k := q.blocks[last]; cap(k.b)-len(k.b) >= n {
			return k
		}
	}
	k := newBlock(n)
	q.blocks = append(q.blocks, k)
	q.open = true
	return k
}

// clear drops everything.
func (q *backlog) clear() { q.drop(len(q.blocks)) }

// drop drops the first n blocks.
func (q *backlog) drop(n int) {
	for _, k := range q.blocks[:n] {
		k.release()
	}
	q.blocks = slices.Delete(q.blocks, 0, n)
	q.open = q.open && len(q.blocks) > 0
}

// group returns how many of the first blocks have size bytes together, or a few
// more, and end with a whole message.
func (q *backlog) group(size int) int {
	for i, k := range q.blocks {
		if size -= len(k.b); size <= 0 && k.ends {
			return i + 1
		}
	}
	return len(q.blocks)
}

// forget drops the messages that lie wholly in the first n bytes, and returns
// how many others stay.
func (q *backlog) forget(n int) (messages int) {
	var rest backlog
	pos := 0            // bytes before this frame
	first, from := 0, 0 // where the message at hand begins
	cut, cutAt := -1, 0 // where the first message begins that stays
	for i, k := range q.blocks {
		for at := 0; at < len(k.b); {
			flags, _, size := splitFrame(k.b[at:])
			pos += size
			at += size
			if flags&flagMore != 0 {
				continue
			}
			if pos > n {
				if cut < 0 {
					cut, cutAt = first, from
				}
				messages++
			}
			if first, from = i, at; at == len(k.b) {
				first, from = i+1, 0
			}
		}
	}
	if cut >= 0 {
		if cutAt > 0 { // not a shared block: those begin with their frame
			rest.encoded(q.blocks[cut].b[cutAt:], q.blocks[cut].ends)
			cut++
		}
		for _, k := range q.blocks[cut:] {
			rest.share(k)
		}
	}
	q.clear()
	*q = rest
	return messages
}
