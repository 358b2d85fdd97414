package dnsx

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// transfer begins the answer to AXFR [RFC 5936] or IXFR [RFC 1995]. A transfer
// that may go on is put into q.zone, and sendZone does it.
//
// [RFC 5936]: https://www.rfc-editor.org/rfc/rfc5936
// [RFC 1995]: https://www.rfc-editor.org/rfc/rfc1995
func (s *Server) transfer(dst []byte, q *request, z *Zone, maxUDP int) (answer []byte, later bool) {
	switch {
	case q.typ == dns.TypeAXFR && !q.stream:
		return q.appendError(dst, dns.RcodeNotImplemented, 0, maxUDP), false
	case z == nil || z.wire != string(q.name):
		return q.appendError(dst, dns.RcodeNotAuth, 0, maxUDP), false
	case q.typ == dns.TypeIXFR && (!q.stream || int32(q.serial-z.serial) >= 0):
		// The SOA record alone says: you are up to date, or come by TCP.
		r := &reply{authoritative: true, answer: z.apex.set(dns.TypeSOA).rrs}
		return q.finish(append(dst, r.pack(z.origin, q, 0).wire...), len(dst), true, 0, maxUDP), false
	case s.AllowTransfer == nil || !s.AllowTransfer(q.from.Addr()):
		return q.appendError(dst, dns.RcodeRefused, 0, maxUDP), false
	}
	q.zone = z
	return dst, false
}

// transferSize is how full the messages of a transfer get: room for names to be
// compressed, which reaches the first 16 KiB of a message.
const transferSize = 16 << 10

// sendZone sends a whole zone: the SOA record, all others, and the SOA record
// again.
func (s *Server) sendZone(q *request, send func([]byte) error) error {
	z := q.zone
	var (
		offsets map[string]int
		buf     = make([]byte, maxMessage)
		at      int
		count   uint16
	)
	begin := func() {
		at = len(q.appendHeader(buf[:0], bitAA, dns.RcodeSuccess))
		offsets, count = map[string]int{}, 0
	}
	flush := func() error {
		binary.BigEndian.PutUint16(buf[6:], count)
		return send(buf[:at])
	}
	add := func(rr dns.RR) error {
		rr = dns.Copy(rr) // PackRR writes into the record, which others read
		end, err := dns.PackRR(rr, buf, at, offsets, true)
		if err != nil && count > 0 { // it is full
			if err := flush(); err != nil {
				return err
			}
			begin()
			end, err = dns.PackRR(rr, buf, at, offsets, true)
		}
		if err != nil {
			return err
		}
		at = end
		count++
		if at < transferSize {
			return nil
		}
		err = flush()
		begin()
		return err
	}
	begin()
	for rr := range z.rrs() {
		if err := add(rr); err != nil {
			return err
		}
	}
	if err := add(z.apex.set(dns.TypeSOA).rrs[0]); err != nil {
		return err
	}
	if count == 0 {
		return nil
	}
	return flush()
}
