package udprel

import (
	"net/netip"
	"time"
)

// Sizes are of UDP payload.
const (
	// minMTU fits into the 576 bytes that every IPv4 host takes.
	minMTU = 548
	// baseMTU is what nearly every path carries (RFC 9000 section 14).
	baseMTU = 1200
	// usualMTU is what Ethernet leaves after the headers of IPv6 and UDP.
	usualMTU = 1500 - 40 - 8
	// mtuTries is how often a size is tried: a probe may be lost by chance.
	mtuTries = 3
	// mtuGrain is when the search is close enough.
	mtuGrain = 32
)

// An mtuSearch finds how large packets may be, by sending some that hold nothing
// but filler ([RFC 8899]). First it tries the usual size, then the largest, then
// it halves the distance between what passed and what did not.
//
// [RFC 8899]: https://www.rfc-editor.org/rfc/rfc8899
type mtuSearch struct {
	size   int // in use
	most   int // the largest that makes sense
	tooBig int // the smallest that did not pass
	trying int // size of the probe under way, 0 for none
	tries  int
	active bool
}

func newMTUSearch(cfg *Config, addr netip.AddrPort) mtuSearch {
	most := cfg.maxSize(addr.Addr())
	return mtuSearch{size: min(baseMTU, most), most: most, tooBig: most + 1}
}

func (s *mtuSearch) start() { s.active = true }

// probe returns the size to be tried next, 0 for none.
func (s *mtuSearch) probe() int {
	switch {
	case !s.active || s.trying > 0 || s.size >= s.most:
		return 0
	case s.tooBig > s.most && s.size < usualMTU:
		return min(usualMTU, s.most)
	case s.tooBig > s.most:
		return s.most
	case s.tooBig-s.size < mtuGrain:
		s.active = false
		return 0
	}
	return (s.size + s.tooBig) / 2
}

func (s *mtuSearch) passed(size int) {
	s.trying, s.tries = 0, 0
	s.size = max(s.size, size)
}

func (s *mtuSearch) failed(size int) {
	s.trying = 0
	if s.tries++; s.tries >= mtuTries {
		s.refused(size)
	}
}

// refused learns that a size does not pass for certain.
func (s *mtuSearch) refused(size int) {
	s.trying, s.tries = 0, 0
	s.tooBig = min(s.tooBig, size)
	if s.size >= size {
		s.size = minMTU
	}
}

// blackHole answers a long silence: perhaps the path has changed and swallows
// packets of the present size.
func (s *mtuSearch) blackHole() {
	*s = mtuSearch{size: minMTU, most: s.most, tooBig: s.most + 1, active: true}
}

// mtuProbe writes a probe, if one is due and the path is not busy with more
// important things.
func (m *machine) mtuProbe(now time.Duration, buf []byte) int {
	size := m.mtu.probe()
	if size == 0 || m.phase != phaseOpen || m.timeouts > 0 ||
		(m.sent.out > 0 && m.sent.inFlight+size > m.control.Window()) {
		return 0
	}
	b := m.begin(now, buf[:0])
	p := m.sent.add()
	p.at, p.probe = now, true
	b = append(b, byte(framePing), byte(framePadding))
	clear(buf[len(b):size])
	m.mtu.trying = size
	m.launch(p, size, true, now)
	return size
}

// tooLarge learns from the system that a datagram of this size does not leave.
func (m *machine) tooLarge(size int) {
	m.mtu.refused(size)
	if m.phase == phaseOpen {
		m.mtu.start() // look for what does
	}
}
