package main

import (
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

// tableRow is a row of the table of compare.
var tableRow = regexp.MustCompile(`(?m)^ *(\S*) +(TCP reno|TCP cubic|udprel cubic|udprel) +(\*?)\d+\.\d\d +\d+ %( +\d+\.\d\d?)* +\S+s *$`)

func TestCompare(t *testing.T) {
	t.Parallel()
	picture := filepath.Join(t.TempDir(), "compare.svg")
	got := clitest.Run(t, "", "compare", "-link", "rate=50mbit,delay=1ms", "-size", "100000", "-limit", "20s", "-congestion", "reno", "-chart", picture, "", "loss=10%")
	require.Zero(t, got.Status, got.Stderr)
	rows := tableRow.FindAllStringSubmatch(got.Stdout, -1)
	require.Len(t, rows, 6, "%s", got.Stdout)
	for i, link := range []string{"clean", "loss=10%"} {
		require.Equal(t, link, rows[3*i][1])
		for j, way := range []string{"TCP reno", "udprel cubic", "udprel"} {
			require.Equal(t, way, rows[3*i+j][2])
			require.Empty(t, rows[3*i+j][3], "the whole file was fetched")
		}
	}
	svg, err := os.ReadFile(picture)
	require.NoError(t, err)
	require.NoError(t, xml.Unmarshal(svg, new(struct{})))
	for _, text := range []string{"TCP reno", "udprel cubic", "loss=10%", "100000 bytes over rate=50mbit,delay=1ms"} {
		require.Contains(t, string(svg), text)
	}
}

func TestCompareCutsOff(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t, "", "compare", "-link", "rate=1mbit", "-size", "1000000", "-limit", "250ms", "-together", "")
	require.Zero(t, got.Status, got.Stderr)
	rows := tableRow.FindAllStringSubmatch(got.Stdout, -1)
	require.Len(t, rows, 5, "%s", got.Stdout)
	for _, row := range rows {
		require.Equal(t, "*", row[3])
	}
	require.Equal(t, "together", rows[3][1])
	require.Contains(t, got.Stdout, "* cut off")
}

func TestCompareSystem(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t, "", "compare", "-system", "-link", "delay=1ms", "-size", "100000", "-limit", "20s", "loss=1%")
	if regexp.MustCompile(`takes root|only Linux|/dev/net/tun|TUN`).MatchString(got.Stderr) {
		t.Skip(got.Stderr)
	}
	require.Zero(t, got.Status, got.Stderr)
	require.Equal(t, 3, strings.Count(got.Stdout, "udprel")+strings.Count(got.Stdout, "TCP cubic"))
	require.NotContains(t, got.Stdout, "*")
	requireFails(t, clitest.Run(t, "", "compare", "-system", "-congestion", "vegas?", ""), `congestion control "vegas?"`)
}

func TestCompareFails(t *testing.T) {
	t.Parallel()
	requireFails(t, clitest.Run(t, "", "compare", "-congestion", "bbr", ""), `no congestion control "bbr"`)
	requireFails(t, clitest.Run(t, "", "compare", "-size", "1", "-chart", filepath.Join(t.TempDir(), "no", "x.svg"), ""), "x.svg")
}

// What the packets say is checked against what has been sent.
func TestPackets(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t, "", "packets", "-size", "20000", "-link", "rate=10mbit,delay=2ms,loss=10%", "-seed", "3")
	require.Zero(t, got.Status, got.Stderr)
	lines := regexp.MustCompile(`(?m)^ *[\d.]+  (→| ←) +(\S+) +(\d+) +(\d*) +([.1]{32})? +(\d+|✗ .*)$`).FindAllStringSubmatch(got.Stdout, -1)
	require.Greater(t, len(lines), 20, "%s", got.Stdout)
	for _, kind := range []string{"hello", "cookie", "welcome", "✗ lost"} {
		require.Contains(t, got.Stdout, kind)
	}
	sent := map[string]map[int]bool{"→": {}, "←": {}}
	lost := map[string]map[int]bool{"→": {}, "←": {}}
	for _, line := range lines {
		to := strings.TrimSpace(line[1])
		if strings.HasPrefix(line[6], "✗") {
			seq, err := strconv.Atoi(line[3])
			require.NoError(t, err)
			lost[to][seq] = true
		}
	}
	for _, line := range lines {
		to := strings.TrimSpace(line[1])
		from := map[string]string{"→": "←", "←": "→"}[to]
		seq, err := strconv.Atoi(line[3])
		require.NoError(t, err)
		if strings.HasPrefix(line[6], "✗") {
			continue
		}
		require.False(t, sent[to][seq], "a number is never used twice: %s", line[0])
		sent[to][seq] = true
		if line[4] == "" {
			continue
		}
		ack, err := strconv.Atoi(line[4])
		require.NoError(t, err)
		require.True(t, sent[from][ack] && !lost[from][ack], "what is acknowledged was sent and not lost: %s", line[0])
		for n, bit := range line[5] {
			if bit == '1' {
				require.True(t, sent[from][ack-1-n] && !lost[from][ack-1-n], "bit %d: %s", n, line[0])
			}
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	packet := binary.BigEndian.AppendUint32(nil, 1005)
	packet = binary.BigEndian.AppendUint32(packet, 207)
	packet = binary.BigEndian.AppendUint32(packet, 1|1<<3)
	packet = append(packet, 0x10|data)
	p, err := decode(packet)
	require.NoError(t, err)
	require.Equal(t, pdu{sequence: 1005, ack: 207, bits: 9, kind: data}, p)
	require.Equal(t, "data       5     7 1..1"+strings.Repeat(".", 28), p.describe(&side{true, 1000}, &side{true, 200}))
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 13))
	f.Add([]byte(fmt.Sprintf("%12s%c", "", 0x10|reset)))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		p, err := decode(datagram)
		if err != nil {
			require.Equal(t, errNoPDU, err)
			return
		}
		require.Equal(t, p.bits, binary.BigEndian.Uint32(datagram[8:]))
		require.NotEmpty(t, p.describe(new(side), new(side)))
	})
}
