package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
)

const (
	forgedTTL = 24 * time.Hour
	patience  = 5 * time.Second
)

// An oldResolver is one as they were before 2008, but for what its fields
// guard. It knows one name server, that of both zones, and keeps all that it
// is told.
type oldResolver struct {
	server     netip.AddrPort
	conns      []*net.UDPConn // one socket for all questions, or some to choose from
	idBits     int            // of 16; fewer make an experiment short
	sequential bool           // ids are counted, not drawn
	mix        bool           // mixes large and small letters
	bailiwick  bool           // takes no records of other zones

	readers sync.WaitGroup
	room    chan struct{} // holds a token for each forged datagram that was not read yet

	mu      sync.Mutex
	dice    *rand.Rand
	nextID  uint16
	waiting *waiting          // the question under way
	cache   map[string]string // from names to addresses
}

// A waiting question.
type waiting struct {
	conn     int
	id       uint16
	name     string // as it was spelled
	answered chan struct{}
}

// newOldResolver opens its sockets.
func newOldResolver(server netip.AddrPort, ports int, dice *rand.Rand) (*oldResolver, error) {
	r := &oldResolver{server: server, idBits: 16, dice: dice, room: make(chan struct{}, 64), nextID: uint16(dice.Uint32()), cache: make(map[string]string)}
	for range ports {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: server.Addr().AsSlice()})
		if err != nil {
			r.close()
			return nil, err
		}
		r.conns = append(r.conns, conn)
		number := len(r.conns) - 1
		r.readers.Go(func() { r.read(number, conn) })
	}
	return r, nil
}

func (r *oldResolver) close() {
	for _, conn := range r.conns {
		conn.Close()
	}
	r.readers.Wait()
}

// ports are those of its sockets.
func (r *oldResolver) ports() (list []uint16) {
	for _, conn := range r.conns {
		list = append(list, conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	}
	return list
}

// resolve returns the address of a name, from the cache or the server.
func (r *oldResolver) resolve(ctx context.Context, name string) (string, error) {
	r.mu.Lock()
	if addr, ok := r.cache[name]; ok {
		r.mu.Unlock()
		return addr, nil
	}
	mask := uint16(1<<r.idBits - 1)
	if r.sequential {
		r.nextID++
	} else {
		r.nextID = uint16(r.dice.Uint32())
	}
	w := &waiting{conn: r.dice.IntN(len(r.conns)), id: r.nextID & mask, name: name, answered: make(chan struct{})}
	if r.mix {
		w.name = strings.Map(func(c rune) rune {
			if 'a' <= c && c <= 'z' && r.dice.IntN(2) == 1 {
				return c - 'a' + 'A'
			}
			return c
		}, name)
	}
	r.waiting = w
	r.mu.Unlock()

	query := &dnsx.Message{Header: dnsx.Header{ID: w.id}, Questions: []dnsx.Question{{Name: w.name, Type: dnsx.A}}}
	wire, err := query.Pack()
	if err != nil {
		return "", err
	}
	if _, err := r.conns[w.conn].WriteToUDPAddrPort(wire, r.server); err != nil {
		return "", err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-w.answered:
	case <-late.C:
		return "", fmt.Errorf("no answer for %s", name)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	addr, ok := r.cache[name]
	if !ok {
		return "", errors.New("the answer has no address")
	}
	return addr, nil
}

// read takes what arrives at one socket.
func (r *oldResolver) read(number int, conn *net.UDPConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		select {
		case <-r.room:
		default:
		}
		if err != nil || from.Port() != r.server.Port() || from.Addr().Unmap() != r.server.Addr() {
			continue
		}
		r.take(number, buf[:n])
	}
}

// take believes a message that looks like the answer. The first one wins.
func (r *oldResolver) take(number int, wire []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waiting
	if w == nil || number != w.conn || len(wire) < 2 || wire[0] != byte(w.id>>8) || wire[1] != byte(w.id) {
		return // guessed wrong: no need to read the rest
	}
	m, err := dnsx.ParseMessage(wire)
	if err != nil || !m.Response || len(m.Questions) != 1 {
		return
	}
	asked := m.Questions[0].Name
	if r.mix && asked != w.name || !dnsx.EqualNames(asked, w.name) {
		return
	}
	labels := strings.SplitAfter(strings.ToLower(asked), ".")
	zone := strings.Join(labels[max(0, len(labels)-3):], "") // two labels and what is behind the last dot
	for _, record := range append(m.Answer, m.Additional...) {
		if record.Type == dnsx.A && (!r.bailiwick || dnsx.InZone(record.Name, zone)) {
			r.cache[strings.ToLower(record.Name)] = record.Data
		}
	}
	r.waiting = nil
	close(w.answered)
}

// poisoned says whether the cache has the lie, and forgets it.
func (r *oldResolver) poisoned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	addr := r.cache[target]
	delete(r.cache, target)
	return addr == evilIP
}
