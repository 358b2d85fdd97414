package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"pair", "-n", "0"},
		{"reqrep", "-transport", "pgm"},
		{"star"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q", args)
	}
}

func TestDraw(t *testing.T) {
	for _, test := range []struct {
		columns [][]string
		gaps    [][]edge
		want    string
	}{
		{
			[][]string{{"a"}, {"ñandú"}},
			[][]edge{{{right: 1}}},
			`
  ┌───┐       ┌───────┐
  │ a │ ──1─► │ ñandú │
  └───┘       └───────┘
`,
		},
		{
			[][]string{{"a", "bb", "c", "d"}, {"e"}, {"f", "g"}},
			[][]edge{{{right: 1}, {right: 10}, {right: 3, left: 4}, {}}, {{right: 5}, {right: 6}}},
			`
  a  ──1─►    ┌───┐
  bb ──10─►   │   │ ──5─► f
  c  ◄─4──3─► │ e │ ──6─► g
  d  ──0─►    └───┘
`,
		},
	} {
		var out strings.Builder
		require.NoError(t, draw(&out, test.columns, test.gaps))
		require.Equal(t, strings.TrimPrefix(test.want, "\n"), out.String())
	}
}

// edges are the counts in a drawing, left to right and line by line.
func edges(text string) (list []int) {
	for _, n := range regexp.MustCompile(`─(\d+)─`).FindAllStringSubmatch(text, -1) {
		number, _ := strconv.Atoi(n[1])
		list = append(list, number)
	}
	return list
}

// The counts, over every transport and in many orders.
func TestCounts(t *testing.T) {
	for _, transport := range []string{"tcp", "ipc", "inproc"} {
		t.Run(transport, func(t *testing.T) {
			for seed := 1; seed <= 5; seed++ {
				got := clitest.Run(t, "", "all", "-transport", transport, "-n", "50", "-seed", fmt.Sprint(seed))
				require.Equal(t, 0, got.Status, "seed %d: %s", seed, got.Stderr)
				sections := strings.Split(strings.TrimPrefix(got.Stdout, "\n"), "\n\n")
				require.Len(t, sections, 5)
				counts := edges(sections[0])
				require.Len(t, counts, 10)
				for i, client := range [][2]int{{0, 1}, {4, 5}, {8, 9}} {
					require.Equal(t, []int{50, 50}, counts[client[0]:client[1]+1], "client %d", i)
				}
				require.InDelta(t, 75, counts[2], 5, "the workers share the questions")
				require.Equal(t, 150, counts[2]+counts[6])
				require.Equal(t, []int{100, 100, 100, 100, 100}, edges(sections[1]))
				require.Equal(t, []int{50, 50, 50, 50, 50, 50}, edges(sections[2]))
				require.Equal(t, []int{50, 50}, edges(sections[3]))
				require.Equal(t, []int{150, 50, 50, 50}, edges(sections[4]))
			}
		})
	}
}

// A sink takes from all its sources in turn, even if one of them has more to say.
func TestFairQueueing(t *testing.T) {
	got := clitest.Run(t, "", "mixed", "-n", "18")
	require.Equal(t, 0, got.Status, got.Stderr)
	_, order, _ := strings.Cut(got.Stdout, "in the order ")
	for turn := range 17 {
		four := order[4*turn : 4*turn+4]
		for _, source := range "ABCD" {
			require.Equal(t, 1, strings.Count(four, string(source)), order)
		}
	}
}

// More messages than fit any queue.
func TestMany(t *testing.T) {
	for _, args := range [][]string{{"reqrep", "-n", "2000"}, {"pipeline", "-n", "20000"}, {"mixed", "-n", "5000"}, {"pair", "-n", "20000"}} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 0, got.Status, "%q: %s", args, got.Stderr)
	}
}

func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	p := clitest.StartClient(t, "", "pair", "-n", "100000")
	p.Stdout.WaitFor(t, "started")
	p.Signal(os.Interrupt)
	require.Contains(t, []int{0, 130}, p.Wait(), "done, or cut short")
}
