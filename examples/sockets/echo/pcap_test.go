package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

var captures = []string{"loopback", "ethernet"}

func TestExplainRecordedCaptures(t *testing.T) {
	for _, name := range captures {
		want, err := os.ReadFile("testdata/" + name + ".golden")
		require.NoError(t, err)
		got := clitest.Run(t, "", "explain", "testdata/"+name+".pcap")
		require.Zero(t, got.Status, got.Stderr)
		require.Equal(t, string(want), got.Stdout)
	}
	want, err := os.ReadFile("testdata/loopback.golden")
	require.NoError(t, err)
	got := clitest.Run(t, "", "explain")
	require.Zero(t, got.Status, got.Stderr)
	require.Equal(t, recordedLabel+"\n\n"+string(want), got.Stdout)
}

func TestExplainBadFiles(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile("testdata/loopback.pcap")
	require.NoError(t, err)
	with := func(at int, b ...byte) []byte {
		changed := bytes.Clone(whole)
		copy(changed[at:], b)
		return changed
	}
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"empty":      {nil, "the file ends inside its header of 24 bytes"},
		"text":       {[]byte(strings.Repeat("not a capture\n", 4)), "it begins with 6e 6f 74 20, which is no magic number"},
		"pcapng":     {append([]byte{0x0a, 0x0d, 0x0d, 0x0a}, make([]byte, 40)...), "it is a pcapng file"},
		"version":    {with(4, 0, 9), "version 9.4, of which only 2.4 is known"},
		"cut head":   {whole[:24+7], "packet 1: the file ends inside the packet's header"},
		"cut packet": {whole[:24+16+10], "packet 1: the file ends after 10 of the packet's 74 bytes"},
		"4 GiB":      {with(24+8, 0xff, 0xff, 0xff, 0xff), "packet 1: 4294967295 bytes captured, over the limit of 262144"},
		"size":       {with(24+12, 0, 0, 0, 1), "packet 1: 74 bytes captured of 1"},
		"jumbo":      {with(24+12, 0x7f), "packet 1: no packet is"},
		"time":       {with(24+4, 0, 0x0f, 0x42, 0x40), "packet 1: the fraction of its time is over a second"},
	} {
		file := dir + "/" + name
		require.NoError(t, os.WriteFile(file, c.file, 0o600))
		got := clitest.Run(t, "", "explain", file)
		require.Equal(t, 1, got.Status, name)
		require.Contains(t, got.Stderr, file+": not a sound pcap file: ")
		require.Contains(t, got.Stderr, c.says)
	}
	// What comes before the damage is told.
	file := dir + "/tail"
	require.NoError(t, os.WriteFile(file, whole[:len(whole)-1], 0o600))
	got := clitest.Run(t, "", "explain", file)
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "packet 22: the file ends after 45 of the packet's 46 bytes")
	require.Contains(t, got.Stdout, "TCP: 2 connections, 20 packets")

	got = clitest.Run(t, "", "explain", dir+"/none")
	require.Equal(t, 1, got.Status)
	got = clitest.Run(t, "", "explain", "-max", "3", "testdata/loopback.pcap")
	require.Zero(t, got.Status)
	require.Contains(t, got.Stdout, "TCP: 1 connection, 3 packets")
	require.Contains(t, got.Stdout, "the file goes on: -max looks further\n")
}

func TestFilesOfOtherMachines(t *testing.T) {
	at := time.Unix(1_700_000_000, 123_456_000)
	for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
		for _, nanos := range []bool{false, true} {
			magic, fraction := uint32(pcapMicros), uint32(123_456)
			if nanos {
				magic, fraction = pcapNanos, 123_456_000
			}
			var file []byte
			for _, v := range []uint32{magic} {
				file = order.AppendUint32(file, v)
			}
			file = order.AppendUint16(order.AppendUint16(file, 2), 4)
			for _, v := range []uint32{0, 0, 65535, uint32(linkRaw), 1_700_000_000, fraction, 5, 9} {
				file = order.AppendUint32(file, v)
			}
			file = append(file, "hello"...)
			r, err := newPcapReader(bytes.NewReader(file))
			require.NoError(t, err)
			require.Equal(t, linkRaw, r.link)
			rec, err := r.next()
			require.NoError(t, err)
			require.True(t, at.Equal(rec.at), "%v", rec.at)
			require.Equal(t, "hello", string(rec.data))
			require.Equal(t, 9, rec.size)
			_, err = r.next()
			require.Equal(t, io.EOF, err)
		}
	}
}

func TestPcapBytes(t *testing.T) {
	var file bytes.Buffer
	w := newPcapWriter(&file)
	w.add(record{at: time.Unix(1, 2_000), data: []byte{0xaa, 0xbb}, size: 3})
	require.NoError(t, w.flush())
	require.Equal(t, "\xa1\xb2\xc3\xd4\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x01"+
		"\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00\x03\xaa\xbb", file.String())

	full := newPcapWriter(failing{})
	for range 1000 {
		full.add(record{data: make([]byte, 100)})
	}
	require.ErrorIs(t, full.flush(), errFull)
}

var errFull = errors.New("the disk is full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// records reads a whole file.
func records(t testing.TB, name string) (linkType, []record) {
	t.Helper()
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	r, err := newPcapReader(file)
	require.NoError(t, err)
	var all []record
	for {
		rec, err := r.next()
		if err == io.EOF {
			return r.link, all
		}
		require.NoError(t, err)
		rec.data = bytes.Clone(rec.data)
		all = append(all, rec)
	}
}

func TestLinkTypes(t *testing.T) {
	ethernet, all := records(t, "testdata/ethernet.pcap")
	require.Equal(t, linkEthernet, ethernet)
	for _, rec := range all {
		want, err := decode(linkEthernet, rec.data)
		require.NoError(t, err)
		ip := rec.data[14:]
		for link, header := range map[linkType]string{
			linkEthernet: string(rec.data[:12]) + "\x81\x00\x00\x05\x08\x00", // VLAN 5
			linkRaw:      "",
			linkNull:     "\x02\x00\x00\x00",
			linkLoop:     "\x00\x00\x00\x02",
			linkSLL:      strings.Repeat("\x00", 14) + "\x08\x00",
			linkSLL2:     "\x08\x00" + strings.Repeat("\x00", 18),
		} {
			got, err := decode(link, append([]byte(header), ip...))
			require.NoError(t, err, "link type %d", link)
			require.Equal(t, want, got, "link type %d", link)
		}
		_, err = decode(99, rec.data)
		require.ErrorContains(t, err, "link: type 99 is not known here")
	}
}

// udpPacket returns an IPv6 UDP packet after the extension headers given, each
// with the kind of the next missing in front.
func udpPacket(extensions ...[]byte) []byte {
	udp := []byte{0x04, 0x24, 0x00, 0x07, 0, 12, 0, 0, 'h', 'o', 'l', 'a'}
	kinds := make([]byte, 0, len(extensions)+1)
	var body []byte
	for _, e := range extensions {
		kinds = append(kinds, e[0])
		body = append(body, e[1:]...)
	}
	kinds = append(kinds, protocolUDP)
	// Each extension begins with the kind of what follows it.
	at := 0
	for i, e := range extensions {
		body[at] = kinds[i+1]
		at += len(e) - 1
	}
	body = append(body, udp...)
	ip := []byte{0x60, 0, 0, 0, 0, byte(len(body)), kinds[0], 64}
	ip = append(ip, netip.MustParseAddr("2001:db8::1").AsSlice()...)
	ip = append(ip, netip.MustParseAddr("2001:db8::2").AsSlice()...)
	return append(ip, body...)
}

func TestIPv6Extensions(t *testing.T) {
	// First the kind of each header, then its bytes.
	hop := append([]byte{hopByHop}, make([]byte, 8)...)
	long := append([]byte{options, 0, 1}, make([]byte, 14)...)
	first := []byte{fragment, 0, 0, 0, 1, 0, 0, 0, 7}
	later := []byte{fragment, 0, 0, 0, 8, 0, 0, 0, 7}
	for _, extensions := range [][][]byte{{}, {hop}, {hop, long}, {long, hop, first}} {
		p, err := decode(linkRaw, udpPacket(extensions...))
		require.NoError(t, err)
		require.Equal(t, "[2001:db8::1]:1060", p.src.String())
		require.Equal(t, "[2001:db8::2]:7", p.dst.String())
		require.Equal(t, "hola", string(p.payload))
		require.Equal(t, 4, p.length)
		require.Equal(t, len(extensions) == 3, p.partial)
	}
	_, err := decode(linkRaw, udpPacket(later))
	require.ErrorIs(t, err, errForeign)
	_, err = decode(linkRaw, udpPacket(hop)[:44])
	require.ErrorContains(t, err, "IPv6: it ends inside an extension header")
	_, err = decode(linkRaw, udpPacket(long)[:50])
	require.ErrorContains(t, err, "an extension header of 16 bytes where 10 are left")
}

func TestDamagedPackets(t *testing.T) {
	_, all := records(t, "testdata/loopback.pcap")
	tcp, udp := all[0].data, all[len(all)-1].data
	with := func(data []byte, at int, b byte) []byte {
		changed := bytes.Clone(data)
		changed[at] = b
		return changed
	}
	for _, c := range []struct {
		data []byte
		says string
	}{
		{tcp[:13], "link: 13 bytes, and the header alone has 14"},
		{tcp[:14], "IP: the packet ends before it"},
		{with(tcp, 14, 0x55), "IP: there is no version 5"},
		{tcp[:14+19], "IPv4: 19 bytes, and the header has at least 20"},
		{with(tcp, 14, 0x44), "IPv4: a header of 16 bytes in a packet of 60"},
		{with(tcp, 14, 0x4f), "TCP: "},
		{with(tcp, 14+3, 19), "IPv4: a header of 20 bytes in a packet of 19"},
		{tcp[:14+20+19], "TCP: 19 bytes, and the header has at least 20"},
		{with(tcp, 14+20+12, 0x40), "TCP: a header of 16 bytes in a segment of 40"},
		{with(tcp, 14+20+12, 0xf0), "TCP: a header of 60 bytes in a segment of 40"},
		{udp[:14+20+7], "UDP: 7 bytes, and the header has 8"},
		{with(udp, 14+20+5, 7), "UDP: a length of 7 in a packet with room for 12"},
		{with(udp, 14+20+5, 13), "UDP: a length of 13 in a packet with room for 12"},
		{with(udp, 13, 6), errForeign.Error()},      // ARP
		{with(udp, 14+9, 1), errForeign.Error()},    // ICMP
		{with(udp, 14+7, 0x10), errForeign.Error()}, // a later fragment
	} {
		_, err := decode(linkEthernet, c.data)
		require.ErrorContains(t, err, c.says)
	}
	// Captured only in part: the headers suffice.
	p, err := decode(linkEthernet, udp[:14+20+8+1])
	require.NoError(t, err)
	require.Equal(t, "h", string(p.payload))
	require.Equal(t, 4, p.length)
	require.Equal(t, `4 bytes "h"…`, brief(p.payload, p.length))
}

// A step is one packet of a conversation between 10.0.0.1:5000 and 10.0.0.2:7.
type step struct {
	fromServer bool
	flags      tcpFlags
	seq, ack   uint32
	payload    string
	noRoom     bool
}

// tell explains steps, one each millisecond.
func tell(steps ...step) string {
	var s story
	for i, step := range steps {
		p := packet{
			tcp: true, src: netip.MustParseAddrPort("10.0.0.1:5000"), dst: netip.MustParseAddrPort("10.0.0.2:7"),
			flags: step.flags, seq: step.seq, ack: step.ack, window: 100,
			payload: []byte(step.payload), length: len(step.payload),
		}
		if step.fromServer {
			p.src, p.dst = p.dst, p.src
		}
		if step.noRoom {
			p.window = 0
		}
		s.add(record{at: time.UnixMilli(int64(i)), size: 54 + p.length}, p, nil)
	}
	return s.String()
}

func TestNarration(t *testing.T) {
	text := tell(
		step{flags: flagSYN, seq: 1000},
		step{flags: flagSYN, seq: 1000},
		step{fromServer: true, flags: flagSYN | flagACK, seq: 0xffffffff, ack: 1001}, // its numbers wrap round
		step{flags: flagACK, seq: 1001, ack: 0},
		step{flags: flagACK | flagPSH, seq: 1001, ack: 0, payload: "hola"},
		step{flags: flagACK | flagPSH, seq: 1001, ack: 0, payload: "hola"},
		step{fromServer: true, flags: flagACK, seq: 0, ack: 1005, noRoom: true},
		step{flags: flagACK | flagFIN, seq: 1005, ack: 0},
		step{fromServer: true, flags: flagACK, seq: 0, ack: 1006},
		step{fromServer: true, flags: flagRST | flagACK, seq: 0, ack: 1006},
		step{flags: flagSYN, seq: 77},
	)
	for _, want := range []string{
		"TCP: client 10.0.0.1:5000, server 10.0.0.2:7\n",
		"    0.000 ms  client → server  SYN      seq 0                wants to talk; its numbers begin at 1000\n",
		"    1.000 ms  client → server  SYN      seq 0                the same again: the first was not acknowledged in time\n",
		"    2.000 ms  client ← server  SYN ACK  seq 0 ack 1          agrees; its own numbers begin at 4294967295\n",
		"    3.000 ms  client → server  ACK      seq 1 ack 1          the handshake is complete\n",
		"    4.000 ms  client → server  PSH ACK  seq 1 ack 1          4 bytes \"hola\"\n",
		"    5.000 ms  client → server  PSH ACK  seq 1 ack 1          the same again: the first was not acknowledged in time\n",
		"    6.000 ms  client ← server  ACK      seq 1 ack 5          has everything before 5, but has no room for more\n",
		"    7.000 ms  client → server  FIN ACK  seq 5 ack 1          has no more to send\n",
		"    8.000 ms  client ← server  ACK      seq 1 ack 6          has seen the end of the other side\n",
		"    9.000 ms  client ← server  RST ACK  seq 1 ack 6          breaks the connection off\n",
		"   10.000 ms  client → server  SYN      seq 0                wants to talk; its numbers begin at 77\n",
		"TCP: 2 connections, 11 packets, 602 bytes for 8 of payload\n",
		"first sequence numbers of the clients: 1000, 77\n",
	} {
		require.Contains(t, text, want)
	}
	text = tell(
		step{fromServer: true, flags: flagACK | flagPSH, seq: 1001, ack: 501, payload: "hola"},
		step{flags: flagACK, seq: 501, ack: 1005},
	)
	require.Contains(t, text, "seq 1 ack 1          (its beginning is not in the capture), 4 bytes \"hola\"\n")
	text = tell(
		step{fromServer: true, flags: flagSYN | flagACK, seq: 500, ack: 1001},
		step{flags: flagACK, seq: 1001, ack: 501},
	)
	require.Contains(t, text, "TCP: client 10.0.0.1:5000, server 10.0.0.2:7\n")

	var s story
	s.add(record{}, packet{}, errForeign)
	s.add(record{}, packet{}, damaged("TCP", "it is torn"))
	require.Equal(t, "left out: 1 packet, neither TCP nor UDP\nleft out: 1 packet that cannot be read, the first because of TCP: it is torn\n", s.String())
	require.Equal(t, "the file holds no packet\n", new(story).String())
	require.Equal(t, `3 bytes "\x1b[2"`, brief([]byte("\x1b[2"), 3), "what commands a terminal is quoted")
}

// tcpdump prints each packet of a file on a line.
func tcpdump(t *testing.T, file string) []string {
	t.Helper()
	cmd := command(t, interop.Program(t, "tcpdump", "tcpdump", "/usr/sbin/tcpdump", "/usr/bin/tcpdump"), "-nn", "-S", "-tt", "-r", "-")
	in, err := os.Open(file)
	require.NoError(t, err)
	defer in.Close()
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = in, &errs
	out, err := cmd.Output()
	require.NoError(t, err, errs.String())
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

var dumpLine = regexp.MustCompile(`^(\d+\.\d{6}) (?:\S+ +(?:In|Out) +)?IP6? (\S+)\.(\d+) > (\S+)\.(\d+): (?:UDP|Flags \[([SFPRU.]*)\](?:, seq (\d+)(?::\d+)?)?(?:, ack (\d+))?, win (\d+)(?:, options \[(?:mss (\d+))?.*\])?), length (\d+)`)

// requireTcpdumpAgrees compares what tcpdump and decode make of each packet.
func requireTcpdumpAgrees(t *testing.T, file string) {
	t.Helper()
	link, all := records(t, file)
	lines := tcpdump(t, file)
	require.Len(t, lines, len(all))
	require.NotEmpty(t, all)
	number := func(s string) int64 {
		n, err := strconv.ParseInt("0"+s, 10, 64)
		require.NoError(t, err)
		return n
	}
	for i, line := range lines {
		m := dumpLine.FindStringSubmatch(line)
		require.NotNil(t, m, "%q", line)
		p, err := decode(link, all[i].data)
		require.NoError(t, err)
		seconds, micros, _ := strings.Cut(m[1], ".")
		require.Equal(t, number(seconds), all[i].at.Unix(), line)
		require.Equal(t, number(strings.TrimLeft(micros, "0")), int64(all[i].at.Nanosecond()/1000), line)
		require.Equal(t, m[2], p.src.Addr().String(), line)
		require.Equal(t, number(m[3]), int64(p.src.Port()), line)
		require.Equal(t, m[4], p.dst.Addr().String(), line)
		require.Equal(t, number(m[5]), int64(p.dst.Port()), line)
		require.Equal(t, number(m[11]), int64(p.length), line)
		require.Equal(t, p.tcp, m[6] != "", line)
		if p.tcp {
			var flags tcpFlags
			for _, letter := range m[6] {
				flags |= map[rune]tcpFlags{'S': flagSYN, 'F': flagFIN, 'P': flagPSH, 'R': flagRST, '.': flagACK}[letter]
			}
			require.Equal(t, flags, p.flags&(flagSYN|flagFIN|flagPSH|flagRST|flagACK), line)
			if m[7] != "" { // left out where nothing is carried
				require.Equal(t, number(m[7]), int64(p.seq), line)
			}
			require.Equal(t, number(m[8]), int64(p.ack), line)
			require.Equal(t, number(m[9]), int64(p.window), line)
			require.Equal(t, number(m[10]), int64(p.mss), line)
		}
	}
}

func TestTcpdumpReadsOurs(t *testing.T) {
	for _, name := range captures {
		requireTcpdumpAgrees(t, "testdata/"+name+".pcap")
	}
}

func FuzzExplain(f *testing.F) {
	for _, name := range captures {
		file, err := os.ReadFile("testdata/" + name + ".pcap")
		require.NoError(f, err)
		f.Add(file)
		f.Add(file[:24+16+74]) // one packet
		f.Add(file[:len(file)-3])
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := explainPcap(io.Discard, bytes.NewReader(file), 1000); err != nil {
			require.ErrorIs(t, err, errNotPcap)
		}
		// What was read, written and read again is the same.
		r, err := newPcapReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		var copied bytes.Buffer
		w := newPcapWriter(&copied)
		var all []record
		for {
			rec, err := r.next()
			if err != nil {
				break
			}
			w.add(rec)
			rec.data = bytes.Clone(rec.data)
			all = append(all, rec)
		}
		require.NoError(t, w.flush())
		again, err := newPcapReader(&copied)
		require.NoError(t, err)
		for _, want := range all {
			got, err := again.next()
			require.NoError(t, err)
			require.True(t, bytes.Equal(want.data, got.data))
			require.Equal(t, want.size, got.size)
			require.Equal(t, want.at.Truncate(time.Microsecond), got.at)
		}
		_, err = again.next()
		require.Equal(t, io.EOF, err)
	})
}

func FuzzDecode(f *testing.F) {
	for _, name := range captures {
		link, all := records(f, "testdata/"+name+".pcap")
		for _, rec := range all[:4] {
			f.Add(uint16(link), rec.data)
			f.Add(uint16(linkRaw), rec.data[14:])
		}
		f.Add(uint16(link), all[len(all)-1].data)
	}
	f.Add(uint16(linkRaw), udpPacket([]byte{hopByHop, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{fragment, 0, 0, 0, 1, 0, 0, 0, 7}))
	f.Fuzz(func(t *testing.T, link uint16, data []byte) {
		p, err := decode(linkType(link), data)
		if err != nil {
			require.Equal(t, packet{}, p)
			return
		}
		require.True(t, bytes.HasSuffix(data, p.payload) || bytes.Contains(data, p.payload))
		require.GreaterOrEqual(t, p.length, 0)
		require.GreaterOrEqual(t, max(len(data), 1<<16), p.length)
		require.GreaterOrEqual(t, p.length, len(p.payload))
		require.True(t, p.src.IsValid() && p.dst.IsValid())
	})
}
