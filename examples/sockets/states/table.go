package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// The states of a connection (RFC 9293 section 3.3.2). A socket in the state
// closed is not in the table: it has no name any more.
const (
	closed      = "CLOSED"
	listen      = "LISTEN"
	synSent     = "SYN-SENT"
	synReceived = "SYN-RECEIVED"
	established = "ESTABLISHED"
	finWait1    = "FIN-WAIT-1"
	finWait2    = "FIN-WAIT-2"
	closeWait   = "CLOSE-WAIT"
	closing     = "CLOSING"
	lastAck     = "LAST-ACK"
	timeWait    = "TIME-WAIT"
)

// A row is one TCP socket in the system's table.
type row struct {
	local, remote netip.AddrPort // remote is 0.0.0.0:0 or [::]:0 in the state LISTEN
	state         string
	recvQ, sendQ  int           // bytes to be read and to be acknowledged; for a listening socket on Linux recvQ is how many connections wait to be accepted
	left          time.Duration // in the state TIME-WAIT, where the system tells: until it ends
}

// maxRows bounds what a table may bring: a busy machine has some ten thousand.
const maxRows = 1 << 20

// parseProc reads rows in the form of Linux's /proc/net/tcp and /proc/net/tcp6
// (proc(5)):
//
//	sl  local_address rem_address   st tx_queue rx_queue tr tm->when …
//	 0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 …
//
// Lines that have another form are left out, as is the title.
func parseProc(r io.Reader) ([]row, error) {
	var rows []row
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if row, ok := parseProcLine(lines.Text()); ok {
			rows = append(rows, row)
		}
		if len(rows) > maxRows {
			return nil, fmt.Errorf("more than %d sockets", maxRows)
		}
	}
	return rows, lines.Err()
}

func parseProcLine(line string) (r row, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 {
		return r, false
	}
	var oks [4]bool
	r.local, oks[0] = procName(fields[1])
	r.remote, oks[1] = procName(fields[2])
	r.state, oks[2] = procStates[fields[3]]
	var tx, rx, timer, ticks uint32
	n, err := fmt.Sscanf(fields[4]+" "+fields[5], "%08X:%08X %02X:%08X", &tx, &rx, &timer, &ticks)
	oks[3] = n == 4 && err == nil
	r.sendQ, r.recvQ = int(tx), int(rx)
	if r.state == timeWait && timer == 3 {
		r.left = time.Duration(ticks) * 10 * time.Millisecond // a hundred ticks a second, on every Linux
	}
	return r, !slices.Contains(oks[:], false)
}

// procStates are the numbers that stand for states in include/net/tcp_states.h.
var procStates = map[string]string{
	"01": established, "02": synSent, "03": synReceived, "04": finWait1, "05": finWait2, "06": timeWait,
	"07": closed, "08": closeWait, "09": lastAck, "0A": listen, "0B": closing, "0C": synReceived,
}

// procName reads an address and a port, both in hexadecimal. The address is in
// words of 32 bits, each in the machine's own byte order.
func procName(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	if err != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		binary.BigEndian.PutUint32(word, binary.NativeEndian.Uint32(word))
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(port) != 4 {
		return netip.AddrPort{}, false
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), true
}

// parseNetstat reads rows in the forms that netstat -an prints on macOS and the
// BSDs, on Windows, and on Linux:
//
//	tcp4       0      0  127.0.0.1.8080         *.*                    LISTEN
//	  TCP    127.0.0.1:8080         0.0.0.0:0              LISTENING
//	tcp        0      0 127.0.0.1:8080          0.0.0.0:*               LISTEN
//
// Lines that have another form are left out.
func parseNetstat(r io.Reader) ([]row, error) {
	var rows []row
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if row, ok := parseNetstatLine(lines.Text()); ok {
			rows = append(rows, row)
		}
		if len(rows) > maxRows {
			return nil, fmt.Errorf("more than %d sockets", maxRows)
		}
	}
	return rows, lines.Err()
}

func parseNetstatLine(line string) (r row, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || !strings.HasPrefix(strings.ToLower(fields[0]), "tcp") {
		return r, false
	}
	fields = fields[1:]
	if len(fields) >= 5 { // two numbers before the names
		var err1, err2 error
		r.recvQ, err1 = strconv.Atoi(fields[0])
		r.sendQ, err2 = strconv.Atoi(fields[1])
		if err1 == nil && err2 == nil {
			fields = fields[2:]
		}
	}
	var ok1, ok2 bool
	r.local, ok1 = netstatName(fields[0])
	r.remote, ok2 = netstatName(fields[1])
	if !ok1 || !ok2 || len(fields) < 3 {
		return r, false
	}
	if !r.remote.Addr().IsValid() {
		r.remote = netip.AddrPortFrom(unspecified(r.local.Addr()), r.remote.Port())
	}
	if !r.local.Addr().IsValid() {
		r.local = netip.AddrPortFrom(unspecified(r.remote.Addr()), r.local.Port())
	}
	r.state = strings.ReplaceAll(strings.ToUpper(fields[2]), "_", "-")
	if name, ok := otherNames[r.state]; ok {
		r.state = name
	}
	return r, true
}

// otherNames are names of states that differ from the RFC's.
var otherNames = map[string]string{
	"LISTENING": listen, "SYN-RECV": synReceived, "SYN-RCVD": synReceived,
	"FIN-WAIT1": finWait1, "FIN-WAIT2": finWait2, "CLOSE": closed,
}

// netstatName reads an address and a port with a colon or, as on the BSDs, a dot
// between them; a star stands for any. The address is not valid for a star.
func netstatName(s string) (netip.AddrPort, bool) {
	i := strings.LastIndexAny(s, ".:")
	if i < 0 {
		return netip.AddrPort{}, false
	}
	host, port := strings.Trim(s[:i], "[]"), s[i+1:]
	var addr netip.Addr
	if host != "*" {
		var err error
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, false
		}
	}
	if port == "*" {
		port = "0"
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), err == nil
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// errNoTable is behind the error of a system whose table cannot be read.
var errNoTable = errors.New("the system's table of sockets cannot be read")

// ofPort returns the rows of the table that have the port on either side:
// listening sockets first, then by their names.
func ofPort(ctx context.Context, port uint16) ([]row, error) {
	return rowsWhere(ctx, port, func(name netip.AddrPort) bool { return name.Port() == port })
}

// ofName is ofPort for sockets that have the name, address and port, on either
// side.
func ofName(ctx context.Context, name netip.AddrPort) ([]row, error) {
	return rowsWhere(ctx, name.Port(), func(other netip.AddrPort) bool { return other == name })
}

func rowsWhere(ctx context.Context, port uint16, wanted func(netip.AddrPort) bool) ([]row, error) {
	rows, err := readTable(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoTable, err)
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return !wanted(r.local) && !wanted(r.remote) })
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(
			-cmp.Compare(btoi(a.state == listen), btoi(b.state == listen)),
			-cmp.Compare(btoi(a.local.Port() == port), btoi(b.local.Port() == port)),
			a.local.Compare(b.local), a.remote.Compare(b.remote))
	})
	// The system gives the table out in pieces. When it changes meanwhile, a
	// row may come twice, and may be missing.
	return slices.CompactFunc(rows, func(a, b row) bool { return a.local == b.local && a.remote == b.remote }), nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// printRows prints rows as a table.
func printRows(w io.Writer, rows []row) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "local\tremote\tstate\t")
	for _, r := range rows {
		remote, note := r.remote.String(), ""
		switch {
		case r.state == listen:
			remote = "–"
			if r.recvQ > 0 {
				note = fmt.Sprintf("%d wait to be accepted", r.recvQ)
			}
		case r.left > 0:
			note = fmt.Sprintf("%.1f s left", r.left.Seconds())
		case r.state != timeWait && (r.sendQ > 0 || r.recvQ > 0):
			note = fmt.Sprintf("%d to be acknowledged, %d to be read", r.sendQ, r.recvQ)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.local, remote, r.state, note)
	}
	table.Flush()
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// poll is how often the table is read where we wait for something to change in
// it: the system does not tell by itself.
const poll = 2 * time.Millisecond

// stateOf returns the state of the socket with these names, closed when there
// is none.
func stateOf(rows []row, local, remote netip.AddrPort) string {
	for _, r := range rows {
		if r.local == local && r.remote == remote {
			return r.state
		}
	}
	return closed
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
