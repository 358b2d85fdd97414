package hosts

import (
	"container/heap"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// maxOnTheWay bounds the bytes that a lane holds, for links without a rate.
const maxOnTheWay = 64 << 20

// A lane carries the IP packets of one direction: it asks the model when each
// arrives, and then gives it to the other host.
type lane struct {
	begin time.Time
	quit  chan struct{}
	wake  chan struct{} // the first of waiting may have changed
	wg    sync.WaitGroup

	mu      sync.Mutex
	model   *simnet.Model
	waiting arrivals
	bytes   int // in waiting
	turn    uint64
}

type arrival struct {
	at     time.Duration
	turn   uint64 // among those of one time
	packet []byte
}

// arrivals is a heap, the next arrival first.
type arrivals []arrival

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].turn < a[j].turn
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)   { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = arrival{}
	*a = old[:len(old)-1]
	return last
}

func newLane(link simnet.Link, seed1, seed2 uint64, begin time.Time) *lane {
	return &lane{begin: begin, quit: make(chan struct{}), wake: make(chan struct{}, 1), model: simnet.NewModel(link, seed1, seed2)}
}

func (l *lane) stats() simnet.Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.model.Stats()
}

// send puts an IP packet, which it keeps, on its way.
func (l *lane) send(packet []byte) {
	if !wanted(packet) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fate := l.model.Send(time.Since(l.begin), len(packet))
	copies := 1
	if fate.Copy {
		copies = 2
	}
	if fate.Drop != "" || l.bytes+copies*len(packet) > maxOnTheWay {
		return
	}
	for range copies {
		l.turn++
		heap.Push(&l.waiting, arrival{at: fate.Arrive, turn: l.turn, packet: packet})
		l.bytes += len(packet)
	}
	if l.waiting[0].at == fate.Arrive {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// wanted reports whether a packet is a whole one of IPv4: a system says other
// things of its own accord.
func wanted(packet []byte) bool {
	return len(packet) >= 20 && packet[0]>>4 == 4 && packet[6]&0x3f == 0 && packet[7] == 0
}

// start begins to deliver.
func (l *lane) start(take func(packet []byte)) {
	l.wg.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			packet, wait := l.next()
			if packet != nil {
				take(packet)
				continue
			}
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-l.wake:
			case <-l.quit:
				return
			}
		}
	})
}

// next takes the first packet that is due, or says how long until one may be.
func (l *lane) next() (packet []byte, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 {
		if wait = l.waiting[0].at - time.Since(l.begin); wait > 0 {
			return nil, wait
		}
		first := heap.Pop(&l.waiting).(arrival)
		l.bytes -= len(first.packet)
		if l.model.Arrive() {
			return first.packet, 0
		}
	}
	return nil, time.Hour // until something is sent
}

func (l *lane) close() {
	close(l.quit)
	l.wg.Wait()
}
