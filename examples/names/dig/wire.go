package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/zocalo-go/zocalo/dnsx"
)

// A walker reads a message octet by octet and says what each field means (RFC
// 1035 section 4.1).
type walker struct {
	w    io.Writer
	wire []byte
	at   int
}

// printWire prints a message field by field. The client has read it already,
// so that it is known to be whole; a walker that runs out of octets
// nevertheless says so.
func printWire(w io.Writer, what string, wire []byte) {
	fmt.Fprintf(w, ";; %s, %d octets\n", what, len(wire))
	m, err := dnsx.ParseMessage(wire)
	walk := &walker{w: w, wire: wire}
	if err != nil || !walk.message(m) {
		fmt.Fprintf(w, "%4d  %-24s the rest makes no sense\n", walk.at, hexOf(wire[walk.at:]))
	}
	fmt.Fprintln(w)
}

// message walks through the whole of it.
func (v *walker) message(m *dnsx.Message) bool {
	if len(v.wire) < 12 {
		return false
	}
	v.field(2, "ID %d: the answer has that of the query", binary.BigEndian.Uint16(v.wire))
	v.flags(m.Header)
	var counts [4]int
	for i, name := range []string{"QDCOUNT: questions", "ANCOUNT: records of the answer", "NSCOUNT: records about authority", "ARCOUNT: additional records"} {
		counts[i] = int(binary.BigEndian.Uint16(v.wire[v.at:]))
		v.field(2, "%d  %s", counts[i], name)
	}
	for range counts[0] {
		fmt.Fprintln(v.w, "      -- question")
		if !v.name("QNAME") || !v.room(4) {
			return false
		}
		v.field(2, "QTYPE %s", dnsx.Type(binary.BigEndian.Uint16(v.wire[v.at:])))
		v.field(2, "QCLASS %s", className(binary.BigEndian.Uint16(v.wire[v.at:])))
	}
	for i, section := range []struct {
		name    string
		records []dnsx.Record
	}{{"answer", m.Answer}, {"authority", m.Authority}, {"additional", m.Additional}} {
		for range counts[i+1] {
			fmt.Fprintf(v.w, "      -- %s\n", section.name)
			if !v.record(&section.records) {
				return false
			}
		}
	}
	return v.at == len(v.wire)
}

// flags shows the second pair of octets bit by bit.
func (v *walker) flags(h dnsx.Header) {
	bits := binary.BigEndian.Uint16(v.wire[v.at:])
	v.field(2, "flags, bit by bit:")
	picture := []byte("................")
	show := func(from, width int, format string, args ...any) {
		line := append([]byte(nil), picture...)
		for i := from; i < from+width; i++ {
			line[i] = '0' + byte(bits>>(15-i)&1)
		}
		fmt.Fprintf(v.w, "      %s         %s\n", line, fmt.Sprintf(format, args...))
	}
	yes := func(b bool, yes, no string) string {
		if b {
			return yes
		}
		return no
	}
	// These are for responses only.
	says := func(b bool, is, isNot string) string {
		if !h.Response {
			return "for responses"
		}
		return yes(b, is, isNot)
	}
	show(0, 1, "QR: %s", yes(h.Response, "a response", "a query"))
	show(1, 4, "opcode %s", h.Opcode)
	show(5, 1, "AA: %s", says(h.Authoritative, "the server has this zone", "not from the zone's own server"))
	show(6, 1, "TC: %s", yes(h.Truncated, "truncated: ask over TCP", "whole"))
	show(7, 1, "RD: %s", yes(h.RecursionDesired, "recursion desired", "recursion not desired"))
	show(8, 1, "RA: %s", says(h.RecursionAvailable, "recursion available", "recursion not available"))
	show(9, 1, "Z: must be zero")
	show(10, 1, "AD: %s", says(h.AuthenticData, "authentic data, says the server", "not checked with DNSSEC"))
	show(11, 1, "CD: %s", yes(h.CheckingDisabled, "checking disabled", "check if you can"))
	show(12, 4, "rcode: %s", says(true, (h.Rcode&0xf).String(), ""))
}

// record shows a resource record; its data in words comes from list, if it is
// one of those.
func (v *walker) record(list *[]dnsx.Record) bool {
	if !v.name("NAME") || !v.room(10) {
		return false
	}
	be := binary.BigEndian
	typ, class, ttl, length := dnsx.Type(be.Uint16(v.wire[v.at:])), be.Uint16(v.wire[v.at+2:]), be.Uint32(v.wire[v.at+4:]), int(be.Uint16(v.wire[v.at+8:]))
	const opt = 41
	data := ""
	v.field(2, "TYPE %s", typ)
	if typ == opt {
		v.field(2, "CLASS, in OPT: takes datagrams of %d octets", class)
		v.field(4, "TTL, in OPT: more of the rcode %d, version %d, DO %d", ttl>>24, ttl>>16&0xff, ttl>>15&1)
	} else {
		if class == 1 && len(*list) > 0 {
			data, *list = (*list)[0].Data, (*list)[1:]
		}
		v.field(2, "CLASS %s", className(class))
		v.field(4, "TTL %d seconds", ttl)
	}
	v.field(2, "RDLENGTH %d", length)
	if !v.room(length) {
		return false
	}
	for first := true; length > 0; first = false {
		n := min(length, 8)
		if first {
			v.field(n, "RDATA %s", data)
		} else {
			v.field(n, "")
		}
		length -= n
	}
	return true
}

// name shows a name label by label.
func (v *walker) name(what string) bool {
	for v.room(1) {
		n := int(v.wire[v.at])
		switch {
		case n == 0:
			v.field(1, "%s ends: the root", what)
			return true
		case n >= 0xc0 && v.room(2):
			v.field(2, "%s goes on at octet %d", what, int(binary.BigEndian.Uint16(v.wire[v.at:]))&0x3fff)
			return true
		case n > 63 || !v.room(1+n):
			return false
		}
		v.field(1+n, "%s: a label of %d, %q", what, n, v.wire[v.at+1:v.at+1+n])
	}
	return false
}

func (v *walker) room(n int) bool { return len(v.wire)-v.at >= n }

// field prints the next n octets and what they mean; the caller has seen that
// they are there.
func (v *walker) field(n int, format string, args ...any) {
	fmt.Fprintln(v.w, strings.TrimRight(fmt.Sprintf("%4d  %-24s %s", v.at, hexOf(v.wire[v.at:v.at+n]), fmt.Sprintf(format, args...)), " "))
	v.at += n
}

// hexOf writes octets in pairs, those of long labels up to a limit.
func hexOf(p []byte) string {
	const most = 8
	if len(p) > most {
		return fmt.Sprintf("% x...", p[:most-1])
	}
	return fmt.Sprintf("% x", p)
}
