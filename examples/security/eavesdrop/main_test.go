package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-clear"}, []string{"tap", "-to", "127.0.0.1:9"}, []string{"tap", "-to", "127.0.0.1:9", "-forge"})
}

// A scene is a bank with a tap before it.
type scene struct {
	server, tap *clitest.Process
	root, pcap  string
}

func newScene(t *testing.T, serverFlags, tapFlags []string) *scene {
	t.Helper()
	dir := t.TempDir()
	s := &scene{root: filepath.Join(dir, "root.pem"), pcap: filepath.Join(dir, "seen.pcapng")}
	s.server = clitest.Start(t, append([]string{"server", "-port", "0", "-root", s.root}, serverFlags...)...)
	s.tap = clitest.Start(t, append([]string{"tap", "-port", "0", "-to", s.server.Addr, "-pcap", s.pcap}, tapFlags...)...)
	return s
}

// talk runs a client through the tap and returns what the tap said of it.
func (s *scene) talk(t *testing.T, stdin string, flags ...string) (clitest.Result, string) {
	t.Helper()
	got := clitest.Run(t, stdin, append([]string{"client", "-port", s.tap.Port()}, flags...)...)
	return got, s.tap.Stdout.WaitFor(t, "the listener knows:")
}

const orders = "balance\npay luis 20.00\nbalance\n"

const answers = "\"welcome\"\n\"balance 1234.56\"\n\"paid 20.00 to luis\"\n\"balance 1214.56\"\n"

func TestClear(t *testing.T) {
	s := newScene(t, []string{"-clear"}, nil)
	got, seen := s.talk(t, orders, "-clear")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, answers, got.Stdout)
	for _, text := range []string{`client → server  "login ana sesamo\n"`, `server → client  "balance 1214.56\n"`, `client → server  "pay luis 20.00\n"`, "knows: every byte of it"} {
		require.Contains(t, seen, text)
	}
}

// What a tap sees of TLS 1.2 and 1.3: the same but for the certificate.
func TestTLS(t *testing.T) {
	for _, test := range []struct {
		version      string
		seen, unseen []string
	}{
		{"1.2", []string{
			"TLS 1.2 with TLS_ECDHE_", `subject "Eavesdropped Bank", issuer "Zócalo Authority"`,
			`certificate of "Eavesdropped Bank"`, "ServerKeyExchange", "ClientKeyExchange",
		}, nil},
		{"1.3", []string{
			"TLS 1.3 with TLS_", "both ends compute the same key",
		}, []string{"Eavesdropped", "Authority", "ServerKeyExchange"}},
	} {
		t.Run(test.version, func(t *testing.T) {
			s := newScene(t, []string{"-tls", test.version}, nil)
			got, seen := s.talk(t, orders, "-root", s.root)
			require.Equal(t, 0, got.Status, got.Stderr)
			require.Equal(t, answers, got.Stdout)
			for _, text := range append(test.seen, `name wanted (SNI)  "bank.example"`, `protocols (ALPN)   "zocalo-bank"`, "versions           TLS 1.3, TLS 1.2", "X25519") {
				require.Contains(t, seen, text)
			}
			for _, text := range append(test.unseen, "sesamo", "luis", "1234", "welcome") {
				require.NotContains(t, seen, text)
			}
			// Sizes are not hidden: each text with its end of line.
			for _, text := range strings.Split("login ana sesamo\n"+orders, "\n") {
				if text != "" {
					require.Regexp(t, fmt.Sprintf(`client → server  application data, .*room for %d bytes\n`, len(text)+1), seen, "%s", text)
				}
			}
			data, err := os.ReadFile(s.pcap)
			require.NoError(t, err)
			require.NotContains(t, string(data), "sesamo")
			require.Contains(t, string(data), "bank.example")
			require.Equal(t, test.version == "1.2", bytes.Contains(data, []byte("Eavesdropped Bank")))
		})
	}
}

// With padding all messages have the same size.
func TestPadding(t *testing.T) {
	s := newScene(t, []string{"-pad", "64"}, []string{"-brief"})
	got, seen := s.talk(t, orders, "-root", s.root, "-pad", "64")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Equal(t, answers, got.Stdout)
	require.Equal(t, 8, strings.Count(seen, "room for 64 bytes"))

	for _, text := range []string{"", "a", strings.Repeat("x", 63), strings.Repeat("x", 64), strings.Repeat("x", 1024)} {
		for _, size := range []int{1, 2, 16, 64, 512} {
			got := padded(text, size)
			require.Zero(t, (len(got)+1)%size)
			require.Less(t, len(got)-len(text), size)
			require.Equal(t, text, strings.TrimRight(got, " "))
		}
		require.Equal(t, text, padded(text, 0))
	}
}

// An impostor is believed only by a client that does not look.
func TestForge(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			s := newScene(t, nil, []string{"-forge"})
			got := clitest.Run(t, orders, "client", "-port", s.tap.Port(), "-root", s.root, "-tls", version)
			require.Equal(t, 1, got.Status)
			require.Empty(t, got.Stdout)
			require.Contains(t, got.Stderr, "unknown-authority")
			require.Contains(t, got.Stderr, "Trust Me Authority")
			seen := s.tap.Stdout.WaitFor(t, "the client did not believe it")
			require.NotContains(t, seen, "sesamo")

			got, seen = s.talk(t, orders, "-insecure", "-tls", version)
			require.Equal(t, 0, got.Status, got.Stderr)
			require.Equal(t, answers, got.Stdout, "the victim notices nothing")
			require.Contains(t, seen, `client → server  "login ana sesamo\n"`)
			require.Contains(t, seen, `server → client  "balance 1214.56\n"`)
		})
	}
}

func TestForgeOfNonsense(t *testing.T) {
	s := newScene(t, nil, []string{"-forge"})
	got := clitest.Run(t, "", "client", "-port", s.tap.Port(), "-clear", "-text", "balance")
	require.Equal(t, 1, got.Status)
	s.tap.Stdout.WaitFor(t, "cannot pose as the server")
	got, _ = s.talk(t, orders, "-insecure")
	require.Equal(t, 0, got.Status, "the tap goes on; %s", got.Stderr)
}

func TestWrongPassword(t *testing.T) {
	s := newScene(t, nil, nil)
	for _, flags := range [][]string{{"-password", "wrong"}, {"-user", "eva"}} {
		got := clitest.Run(t, "balance\n", append([]string{"client", "-port", s.server.Port(), "-root", s.root}, flags...)...)
		require.Equal(t, 1, got.Status)
		require.Equal(t, "eavesdrop: 127.0.0.1:"+s.server.Port()+" refuses: \"wrong name or password\"\n", got.Stderr)
		require.Empty(t, got.Stdout)
	}
}

func TestOrders(t *testing.T) {
	b := &bank{user: "ana", password: "x", cents: 10000}
	for _, test := range [][2]string{
		{"balance", "balance 100.00"},
		{"pay luis 0.01", "paid 0.01 to luis"},
		{"pay luis 99.99", "paid 99.99 to luis"},
		{"pay luis 0.01", "error: not enough money"},
		{"pay luis 999999999.99", "error: not enough money"},
		{"pay luis -1.00", "error: an amount looks like 20.00"},
		{"pay luis 1", "error: an amount looks like 20.00"},
		{"pay luis 9999999999999999999.00", "error: an amount looks like 20.00"},
		{"pay luis", "error: the orders are: balance, pay NAME AMOUNT"},
		{"", "error: the orders are: balance, pay NAME AMOUNT"},
		{"balance", "balance 0.00"},
	} {
		require.Equal(t, test[1], b.order(strings.Fields(test[0])), test[0])
	}
	require.True(t, b.knows("ana", "x"))
	require.False(t, b.knows("ana", ""))
	require.False(t, b.knows("an", "a\x00x"))
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"client", "-port", "1"},
		{"client", "-port", "1", "-clear", "-insecure"},
		{"client", "-port", "1", "-clear", "-user", "two words"},
		{"client", "-port", "1", "-clear", "-password", ""},
		{"client", "-clear"},
		{"tap", "-port", "0"},
		{"tap", "-port", "0", "-to", "localhost"},
		{"tap", "-port", "0", "-to", "localhost:0"},
		{"server", "-tls", "1.1"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
	}
	got := clitest.Run(t, "", "client", "-port", "1", "-root", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, 1, got.Status)
	got = clitest.Run(t, "", "tap", "-to", "127.0.0.1:9", "-pcap", t.TempDir())
	require.Equal(t, 1, got.Status)
}

// A server that is not there, and one that says nothing.
func TestDeadServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dead := ln.Addr().String()
	ln.Close()
	tap := clitest.Start(t, "tap", "-port", "0", "-to", dead)
	conn, err := net.Dial("tcp", tap.Addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(clitest.Limit)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err, "the tap hangs up")
	tap.Stdout.WaitFor(t, "cannot connect to "+dead+" over tcp: refused")

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	tap = clitest.Start(t, "tap", "-port", "0", "-to", silent.Addr().String(), "-idle", "100ms")
	conn, err = net.Dial("tcp", tap.Addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(clitest.Limit)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	tap.Stdout.WaitFor(t, "timed out")
}

// The tap passes on everything, both ways, also when one side ends first; and
// 64 connections at a time are not mixed up.
func TestTransparent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer ln.Close()
	wg.Go(func() {
		for { // an echo that answers only after the end
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(clitest.Limit))
				data, _ := io.ReadAll(conn)
				conn.Write(data)
			})
		}
	})
	tap := clitest.Start(t, "tap", "-port", "0", "-to", ln.Addr().String(), "-brief")
	problems := make(chan error, 70)
	for i := range cap(problems) {
		wg.Go(func() {
			problems <- func() error {
				conn, err := net.Dial("tcp", tap.Addr)
				if err != nil {
					return err
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(clitest.Limit))
				sent := bytes.Repeat([]byte{byte(i), 22, 3, '\n'}, 20000)
				if _, err := conn.Write(sent); err != nil {
					return err
				}
				conn.(*net.TCPConn).CloseWrite()
				back, err := io.ReadAll(conn)
				if err != nil {
					return err
				}
				if !bytes.Equal(sent, back) {
					return fmt.Errorf("connection %d: %d bytes came back of %d", i, len(back), len(sent))
				}
				return nil
			}()
		})
	}
	for range cap(problems) {
		require.NoError(t, <-problems)
	}
}

func TestIPv6(t *testing.T) {
	clitest.NeedHost(t, "::1")
	dir := t.TempDir()
	root := filepath.Join(dir, "root.pem")
	srv := clitest.Start(t, "server", "-host", "::1", "-port", "0", "-root", root)
	// The client comes over IPv6, the tap goes on over IPv6 too.
	tap := clitest.Start(t, "tap", "-host", "::1", "-port", "0", "-to", srv.Addr, "-pcap", filepath.Join(dir, "x"))
	got := clitest.Run(t, "", "client", "-host", "::1", "-port", tap.Port(), "-root", root, "-text", "balance")
	require.Equal(t, 0, got.Status, got.Stderr)
	tap.Stdout.WaitFor(t, "the listener knows: [::1]:")
}

// A packet is what the test's own reader takes out of a file.
type packet struct {
	at       time.Time
	src, dst netip.AddrPort
	seq, ack uint32
	flags    byte
	payload  []byte
}

// readCapture reads a file as strictly as the formats allow.
func readCapture(t *testing.T, data []byte) (list []packet) {
	t.Helper()
	first := true
	for len(data) > 0 {
		require.GreaterOrEqual(t, len(data), 12)
		kind, size := binary.BigEndian.Uint32(data), int(binary.BigEndian.Uint32(data[4:]))
		require.Zero(t, size%4)
		require.LessOrEqual(t, size, len(data))
		require.EqualValues(t, size, binary.BigEndian.Uint32(data[size-4:]), "the length stands at both ends")
		body := data[8 : size-4]
		data = data[size:]
		require.Equal(t, first, kind == blockSection)
		first = false
		if kind != blockPacket {
			continue
		}
		require.Equal(t, uint32(0), binary.BigEndian.Uint32(body))
		p := packet{at: time.Unix(0, int64(binary.BigEndian.Uint64(body[4:])))}
		n := int(binary.BigEndian.Uint32(body[12:]))
		require.EqualValues(t, n, binary.BigEndian.Uint32(body[16:]))
		ip := body[20 : 20+n]
		var src, dst netip.Addr
		var tcp []byte
		switch ip[0] >> 4 {
		case 4:
			require.Zero(t, checksum(ip[:20]))
			require.EqualValues(t, n, binary.BigEndian.Uint16(ip[2:]))
			src, _ = netip.AddrFromSlice(ip[12:16])
			dst, _ = netip.AddrFromSlice(ip[16:20])
			tcp = ip[20:]
		case 6:
			require.EqualValues(t, n-40, binary.BigEndian.Uint16(ip[4:]))
			src, _ = netip.AddrFromSlice(ip[8:24])
			dst, _ = netip.AddrFromSlice(ip[24:40])
			tcp = ip[40:]
		default:
			t.Fatalf("IP version %d", ip[0]>>4)
		}
		pseudo := append(src.AsSlice(), dst.AsSlice()...)
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(tcp)))
		pseudo = append(pseudo, 0, 0, 0, 6)
		require.Zero(t, checksum(append(pseudo, tcp...)))
		p.src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(tcp))
		p.dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(tcp[2:]))
		p.seq, p.ack, p.flags, p.payload = binary.BigEndian.Uint32(tcp[4:]), binary.BigEndian.Uint32(tcp[8:]), tcp[13], tcp[20:]
		list = append(list, p)
	}
	return list
}

func TestCapture(t *testing.T) {
	long := bytes.Repeat([]byte("abcdefg"), 1000)
	for _, test := range []struct{ client, server, wantClient string }{
		{"192.0.2.1:40000", "192.0.2.2:443", "192.0.2.1:40000"},
		{"[2001:db8::1]:40000", "[2001:db8::2]:443", "[2001:db8::1]:40000"},
		{"[::ffff:192.0.2.1]:40000", "192.0.2.2:443", "192.0.2.1:40000"},
		{"192.0.2.1:40000", "[2001:db8::2]:443", "[::ffff:192.0.2.1]:40000"},
		{"[fe80::1%eth0]:40000", "[fe80::2%eth0]:443", "[fe80::1]:40000"},
	} {
		var file bytes.Buffer
		c, err := newCapture(&file)
		require.NoError(t, err)
		now := time.Unix(1_700_000_000, 123456789)
		f := newFlow(c, netip.MustParseAddrPort(test.client), netip.MustParseAddrPort(test.server), now)
		f.data(now, 0, []byte("hola"))
		f.data(now, 1, long)
		f.data(now, 0, nil)
		f.fin(now, 0)
		f.fin(now, 1)
		list := readCapture(t, file.Bytes())
		require.Equal(t, test.wantClient, list[0].src.String())
		require.EqualValues(t, flagSYN, list[0].flags)
		require.EqualValues(t, flagSYN|flagACK, list[1].flags)
		var streams [2][]byte
		next := [2]uint32{}
		for i, p := range list {
			require.True(t, now.Equal(p.at))
			side := 0
			if p.src != list[0].src {
				side = 1
			}
			require.Equal(t, next[side], p.seq, "packet %d", i)
			if p.flags&flagACK != 0 {
				require.Equal(t, next[1-side], p.ack, "packet %d", i)
			}
			streams[side] = append(streams[side], p.payload...)
			next[side] += uint32(len(p.payload))
			if p.flags&(flagSYN|flagFIN) != 0 {
				next[side]++
			}
			require.LessOrEqual(t, len(p.payload), maxSegment)
		}
		require.Equal(t, "hola", string(streams[0]))
		require.Equal(t, long, streams[1])
		require.NoError(t, c.failure())
	}
	var none *flow // no file was asked for
	none.data(time.Now(), 0, long)
	none.fin(time.Now(), 0)
	none.rst(time.Now(), 1)
}

// limited fails after some bytes, as a full disk does.
type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

func TestCaptureFails(t *testing.T) {
	_, err := newCapture(&limited{10})
	require.ErrorIs(t, err, io.ErrShortWrite)
	c, err := newCapture(&limited{400})
	require.NoError(t, err)
	f := newFlow(c, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), time.Now())
	f.data(time.Now(), 0, make([]byte, 5000))
	require.ErrorIs(t, c.failure(), io.ErrShortWrite)

	c, err = newCapture(io.Discard)
	require.NoError(t, err)
	c.n = maxCapture - 100
	newFlow(c, netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"), time.Now())
	require.ErrorIs(t, c.failure(), errCaptureFull)
}

// FuzzWatcher feeds two strangers' bytes: whatever they are, nothing panics,
// and nothing reaches the terminal that could command it.
func FuzzWatcher(f *testing.F) {
	f.Add([]byte("login ana\x1b[2J\n"), []byte("welcome"), 5)
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"), []byte("\x15\x03\x03\x00\x02\x02\x28"), 3)
	f.Add([]byte("\x16"), []byte("HTTP/1.1 400"), 1)
	f.Add(clientHello(f), []byte("\x16\x03\x03\x00\x04\x0e\x00\x00\x00\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x02ab"), 100)
	f.Fuzz(func(t *testing.T, client, server []byte, piece int) {
		var out bytes.Buffer
		w := newWatcher(&out, 1, false)
		w.begin(netip.AddrPort{}, netip.AddrPort{}, nil)
		piece = max(1, piece)
		for len(client)+len(server) > 0 {
			for side, p := range []*[]byte{&client, &server} {
				n := min(piece, len(*p))
				if n > 0 {
					w.sees(side, (*p)[:n])
				}
				*p = (*p)[n:]
			}
		}
		w.ends(0)
		w.over(nil, false)
		for _, r := range out.String() {
			require.False(t, r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0, "%q", out.String())
		}
		require.Less(t, out.Len(), (maxSteps+2)*(5*maxShown+200)+100_000)
	})
}

// clientHello returns the first bytes of crypto/tls's client.
func clientHello(t testing.TB) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go tls.Client(there, &tls.Config{ServerName: "bank.example"}).Handshake() // ends when the pipe is closed
	buf := make([]byte, 4096)
	n, err := here.Read(buf)
	require.NoError(t, err)
	return buf[:n]
}

func TestWatcherIsBounded(t *testing.T) {
	var out bytes.Buffer
	w := newWatcher(&out, 7, false)
	for range 5 * maxSteps {
		w.sees(0, []byte("x"))
	}
	w.over(nil, false)
	require.Equal(t, maxSteps+3, strings.Count(out.String(), "\n"))
	require.Contains(t, out.String(), "#7 … and so on\n")
	require.Contains(t, out.String(), fmt.Sprintf("the client sent %d bytes", 5*maxSteps))
}

// Wireshark reads the file, sees the same, and with the client's keys reads all.
func TestWireshark(t *testing.T) {
	tshark := interop.Program(t, "tshark", "tshark")
	capinfos := interop.Program(t, "tshark", "capinfos")
	ask := func(program string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			s := newScene(t, []string{"-tls", version}, nil)
			keys := filepath.Join(t.TempDir(), "keys.txt")
			got, seen := s.talk(t, orders, "-root", s.root, "-keylog", keys)
			require.Equal(t, 0, got.Status, got.Stderr)
			require.Zero(t, s.tap.Stop())

			require.Regexp(t, `File type:\s+Wireshark/\.\.\. - pcapng`, ask(capinfos, s.pcap))
			shark := func(args ...string) string {
				t.Helper()
				port := s.server.Port()
				return ask(tshark, append([]string{"-r", s.pcap, "-d", "tcp.port==" + port + ",tls"}, args...)...)
			}
			require.Empty(t, shark("-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
				"-Y", "_ws.malformed || tcp.analysis.flags || tcp.checksum.status == Bad || ip.checksum.status == Bad"), "Wireshark finds nothing wrong")
			all := shark("-V")
			require.Contains(t, all, "Server Name: bank.example")
			require.Equal(t, version == "1.2", strings.Contains(all, "Eavesdropped Bank"))
			require.NotContains(t, all, "sesamo")
			// The same records as ours, size by size.
			var ours, theirs []string
			for _, m := range regexp.MustCompile(`application data, (\d+) bytes`).FindAllStringSubmatch(seen, -1) {
				ours = append(ours, m[1])
			}
			for _, m := range regexp.MustCompile(`Type: Application Data \(23\)\n\s+Version: .*\n\s+Length: (\d+)\n`).FindAllStringSubmatch(all, -1) {
				theirs = append(theirs, m[1])
			}
			require.NotEmpty(t, ours)
			require.Equal(t, ours, theirs)

			opened := shark("-o", "tls.keylog_file:"+keys, "-q", "-z", "follow,tls,ascii,0")
			require.Contains(t, opened, "login ana sesamo")
			require.Contains(t, opened, "balance 1214.56")
		})
	}
}

// Wireshark follows what is in clear.
func TestWiresharkClear(t *testing.T) {
	tshark := interop.Program(t, "tshark", "tshark")
	s := newScene(t, []string{"-clear"}, nil)
	got, _ := s.talk(t, orders, "-clear")
	require.Equal(t, 0, got.Status, got.Stderr)
	require.Zero(t, s.tap.Stop())
	cmd := exec.CommandContext(t.Context(), tshark, "-r", s.pcap, "-q", "-z", "follow,tcp,ascii,0")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "login ana sesamo")
	require.Contains(t, string(out), "balance 1214.56")
}

// A client of another make comes through the tap.
func TestOpenSSL(t *testing.T) {
	openssl := interop.Program(t, "openssl", "openssl")
	s := newScene(t, nil, nil)
	cmd := exec.CommandContext(t.Context(), openssl, "s_client", "-connect", s.tap.Addr, "-servername", bankName,
		"-CAfile", s.root, "-verify_return_error", "-verify_hostname", bankName, "-alpn", protocol, "-quiet", "-no_ign_eof")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(in, "login ana sesamo\n")
	require.NoError(t, err)
	answer := make([]byte, len("welcome\n"))
	_, err = io.ReadFull(out, answer)
	require.NoError(t, err)
	require.Equal(t, "welcome\n", string(answer))
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
	seen := s.tap.Stdout.WaitFor(t, "the listener knows:")
	require.Contains(t, seen, "room for 17 bytes")
	require.NotContains(t, seen, "sesamo")
}
