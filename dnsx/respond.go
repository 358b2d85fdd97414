package dnsx

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// respond appends the answer to a query, or says that it has to be asked of
// the Resolver. Nothing is appended when no answer is due.
func (s *Server) respond(dst []byte, q *request, wire []byte) (answer []byte, later bool) {
	rcode := q.read(wire)
	if rcode == noAnswer || s.AllowQuery != nil && !s.AllowQuery(q.from.Addr()) {
		q.end = 0
		return dst, false
	}
	maxUDP := s.maxUDP()
	if rcode == dns.RcodeFormatError {
		q.edns, q.end, q.name = false, headerSize, nil // what else it holds is not to be trusted
	}
	if rcode != dns.RcodeSuccess {
		return q.appendError(dst, rcode, 0, maxUDP), false
	}
	var flags uint16
	recurse := s.Resolver != nil && s.mayRecurse(q.from.Addr())
	if recurse {
		flags = bitRA
	}
	if q.opcode() == dns.OpcodeNotify {
		return q.appendError(dst, s.notified(q), bitAA, maxUDP), false
	}
	if q.class != dns.ClassINET && q.class != dns.ClassANY {
		return q.appendError(dst, dns.RcodeRefused, flags, maxUDP), false
	}
	zones := s.zones.Load()
	switch z := zones.zone(q.name, q.typ); {
	case q.typ == dns.TypeAXFR || q.typ == dns.TypeIXFR:
		return s.transfer(dst, q, z, maxUDP)
	case z != nil:
		answer := zones.answer(z, q)
		if answer.outside && recurse && q.bits&bitRD != 0 {
			return dst, true // the Resolver knows how it goes on
		}
		start, p := len(dst), answer.turn()
		dst = q.finish(append(dst, p.wire...), start, p.essential, flags, maxUDP)
		if q.class == dns.ClassANY {
			dst[start+2] &^= bitAA >> 8 // there is no saying what other classes have (RFC 1034 section 4.3.2)
		}
		return dst, false
	case recurse && q.bits&bitRD != 0:
		if p, ok := s.Resolver.(packer); ok {
			if answer, ok := p.packed(dst, q.name, Type(q.typ)); ok {
				return q.finish(answer, len(dst), true, flags|q.bits&bitCD, maxUDP), false
			}
		}
		return dst, true
	default:
		return q.appendError(dst, dns.RcodeRefused, flags, maxUDP), false
	}
}

// notified passes a NOTIFY on and returns the rcode of the answer.
func (s *Server) notified(q *request) int {
	switch {
	case s.Notified == nil:
		return dns.RcodeNotImplemented
	case q.typ == dns.TypeSOA && s.Notified(q.from.Addr(), textName(q.name)):
		return dns.RcodeSuccess
	}
	return dns.RcodeRefused
}

func (s *Server) maxUDP() int { return min(max(orDefault(s.MaxUDPSize, 1232), plainSize), maxMessage) }

func (s *Server) mayRecurse(client netip.Addr) bool {
	if s.AllowRecursion == nil {
		return client.IsLoopback()
	}
	return s.AllowRecursion(client)
}

// done counts an exchange and tells the trace.
func (s *Server) done(q *request, answer []byte, at net.Addr) {
	if len(answer) == 0 {
		if q.zone == nil { // it is no transfer
			s.count.dropped.Add(1)
		}
	} else if answer[2]&(bitTC>>8) != 0 {
		s.count.truncated.Add(1)
	}
	if s.Trace != nil && s.Trace.Answered != nil && q.end > 0 {
		s.Trace.Answered(q.exchange(answer, at))
	}
}

func (q *request) exchange(answer []byte, at net.Addr) Exchange {
	e := Exchange{Client: q.from, Server: at, Size: len(answer)}
	if len(answer) > 0 {
		e.Rcode = Rcode(answer[3] & 0xf)
	}
	if q.name != nil {
		e.Question = Question{Name: textName(q.wire[headerSize:]), Type: Type(q.typ), Class: q.class}
	}
	return e
}

// deferAnswer finishes a query in a goroutine of its own: with the help of the
// Resolver, or of Rewrite.
func (s *Server) deferAnswer(ctx context.Context, q *request, answer []byte, ask bool, at net.Addr, pending *sync.WaitGroup, send func([]byte) error) {
	select {
	case s.waiting <- struct{}{}:
	default: // too many already
		switch {
		case s.Rewrite != nil:
			answer = nil // no word but the last one
		case ask:
			answer = q.appendError(nil, dns.RcodeServerFailure, bitRA, s.maxUDP())
		}
		s.done(q, answer, at)
		if len(answer) > 0 {
			_ = send(answer)
		}
		return
	}
	own := q.clone()
	answer = append([]byte(nil), answer...)
	pending.Go(func() {
		defer func() { <-s.waiting }()
		if ask {
			answer = s.recurse(ctx, own)
		}
		s.done(own, answer, at)
		messages := [][]byte{answer}
		if s.Rewrite != nil {
			messages = s.Rewrite(ctx, own.exchange(answer, at), own.wire, answer)
		}
		for _, msg := range messages {
			if len(msg) > 0 && send(msg) != nil {
				return
			}
		}
	})
}

// clone copies a request whose buffers are about to be used again.
func (q *request) clone() *request {
	c := *q
	c.wire = append([]byte(nil), q.wire...)
	c.name = c.folded[:len(q.name)]
	if q.name == nil {
		c.name = nil
	}
	return &c
}

// recurse asks the Resolver.
func (s *Server) recurse(ctx context.Context, q *request) []byte {
	s.count.forwarded.Add(1)
	ctx, cancel := context.WithTimeout(ctx, orDefault(s.QueryTimeout, 10*time.Second))
	defer cancel()
	if q.typ == dns.TypeANY {
		return q.appendError(nil, dns.RcodeNotImplemented, bitRA, s.maxUDP())
	}
	text := textName(q.name)
	r, name := &reply{}, text
	zones := s.zones.Load()
	if z := zones.zone(q.name, q.typ); z != nil {
		r = zones.lookup(z, string(q.name), q.typ)
		name = r.outside // of an alias that we have
	}
	answer, err := s.Resolver.Resolve(ctx, name, Type(q.typ))
	if err != nil {
		return q.appendError(nil, dns.RcodeServerFailure, bitRA, s.maxUDP())
	}
	for _, record := range answer.Records {
		rr, err := toRR(record)
		if err != nil {
			return q.appendError(nil, dns.RcodeServerFailure, bitRA, s.maxUDP())
		}
		r.answer = append(r.answer, rr)
	}
	if answer.Status == NXDomain {
		r.rcode = dns.RcodeNameError
	}
	if answer.SOA != nil && answer.Status != OK {
		if rr, err := toRR(*answer.SOA); err == nil {
			r.authority = append(r.authority, rr)
		}
	}
	return q.finish(r.pack(text, q, 0).wire, 0, true, bitRA|q.bits&bitCD, s.maxUDP())
}
