package simnet

import (
	"cmp"
	"time"
)

// An agenda holds things to be done at a time, the next one first; among those
// of one time the one that was pushed first. It is a heap. (container/heap
// would take memory for every item.)
type agenda[T any] struct {
	items []item[T]
	turn  uint64
}

type item[T any] struct {
	at   time.Duration
	turn uint64
	what T
}

func (a *agenda[T]) size() int { return len(a.items) }

// next returns the time of the first item; there must be one.
func (a *agenda[T]) next() time.Duration { return a.items[0].at }

func (a *agenda[T]) push(at time.Duration, what T) {
	a.turn++
	a.items = append(a.items, item[T]{at, a.turn, what})
	for i := len(a.items) - 1; i > 0; {
		parent := (i - 1) / 2
		if !a.less(i, parent) {
			break
		}
		a.items[i], a.items[parent] = a.items[parent], a.items[i]
		i = parent
	}
}

// pop takes the first item off; there must be one.
func (a *agenda[T]) pop() (time.Duration, T) {
	first, end := a.items[0], len(a.items)-1
	a.items[0] = a.items[end]
	a.items[end] = item[T]{} // let go of what it points to
	a.items = a.items[:end]
	for i := 0; ; {
		child := 2*i + 1
		if child >= end {
			break
		}
		if child+1 < end && a.less(child+1, child) {
			child++
		}
		if !a.less(child, i) {
			break
		}
		a.items[i], a.items[child] = a.items[child], a.items[i]
		i = child
	}
	return first.at, first.what
}

func (a *agenda[T]) less(i, j int) bool {
	return cmp.Or(cmp.Compare(a.items[i].at, a.items[j].at), cmp.Compare(a.items[i].turn, a.items[j].turn)) < 0
}
