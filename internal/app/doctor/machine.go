package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"strongroom/internal/app/datadir"
)

// disks checks that there is room.
func disks(_ context.Context, p *Patient) (out []Finding) {
	seen := map[uint64]bool{}
	for _, path := range []string{p.Dir, p.layout.Postgres(), p.layout.Objects(), p.layout.KeyZone("a"), p.layout.KeyZone("b"), p.layout.Guardian("a"), p.layout.Guardian("b")} {
		at := nearest(path)
		device, ok1 := deviceOf(at)
		if !ok1 || seen[device] {
			continue
		}
		seen[device] = true
		free, err := datadir.Free(at)
		switch {
		case err != nil:
			out = append(out, warning("disk", "the room on the disk of "+at+" cannot be seen: "+err.Error(), "run doctor as root"))
		case free < datadir.MinFree:
			out = append(out, failed("disk", fmt.Sprintf("the disk of %s is full: %d MB are free, and Strongroom needs %d MB to start", at, free>>20, uint64(datadir.MinFree)>>20), "free some"))
		case free < 1<<30:
			out = append(out, warning("disk", fmt.Sprintf("the disk of %s is nearly full: %d MB are free", at, free>>20), "free some, or move the data to a larger disk"))
		default:
			out = append(out, ok("disk", fmt.Sprintf("%d GB are free on the disk of %s", free>>30, at)))
		}
	}
	return out
}

// nearest is the path itself, or the deepest folder above it that there is.
func nearest(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

func deviceOf(path string) (uint64, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, isUnix := info.Sys().(*syscall.Stat_t)
	if !isUnix {
		return 0, false
	}
	return uint64(stat.Dev), true
}

// zones says what the loss of one disk takes along.
func zones(_ context.Context, p *Patient) (out []Finding) {
	same := func(a, b string) bool {
		x, ok1 := deviceOf(nearest(a))
		y, ok2 := deviceOf(nearest(b))
		return ok1 && ok2 && x == y
	}
	const remedy = "demo grade: mount another disk there for more; a copy on another machine is what the promises mean by a zone"
	if same(p.layout.KeyZone("a"), p.layout.KeyZone("b")) {
		out = append(out, warning("zones", "both copies of the key store are on one disk: its loss is the loss of all content", remedy))
	}
	if same(p.layout.Guardian("a"), p.layout.Guardian("b")) {
		out = append(out, warning("guardians", "both guardians are on one disk: its loss is the loss of all content, for there is no escrow", remedy))
	}
	if len(out) == 0 {
		out = append(out, ok("zones", "guardians and copies of the key store are on different disks of this machine"))
	}
	return out
}

// memory says where pages with keys or content could be written to.
func memory(_ context.Context, p *Patient) (out []Finding) {
	swaps, err := os.ReadFile("/proc/swaps")
	if err == nil {
		clear := 0
		for _, line := range strings.Split(strings.TrimSpace(string(swaps)), "\n")[1:] {
			device := strings.Fields(line)
			if len(device) > 0 && !strings.HasPrefix(device[0], "/dev/zram") && !encrypted(device[0]) {
				clear++
			}
		}
		if clear > 0 {
			out = append(out, warning("swap", fmt.Sprintf("%d areas of swap are not encrypted, as far as can be seen: pages with keys or content may be written there", clear),
				"switch swap off, or put it on a device of dm-crypt"))
		} else {
			out = append(out, ok("swap", "no swap in clear"))
		}
	}
	if !p.running || p.pid == 0 {
		return append(out, ok("core dumps", "every process of Strongroom switches them off for itself"))
	}
	for pid, name := range processes(p.pid) {
		limit, err := coreLimit(pid)
		if err != nil {
			continue // it ended, or is closed to us
		}
		if limit > 1 {
			out = append(out, failed("core dumps", fmt.Sprintf("%s (process %d) may write its memory to a disk when it dies", name, pid), "restart the installation with this version"))
		}
	}
	if len(out) == 0 || out[len(out)-1].Check != "core dumps" {
		out = append(out, ok("core dumps", "no process of this installation writes any"))
	}
	return out
}

// encrypted reports whether a device is one of dm-crypt.
func encrypted(device string) bool {
	real, err := filepath.EvalSymlinks(device)
	if err != nil {
		return false
	}
	id, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(real), "dm/uuid"))
	return err == nil && strings.HasPrefix(string(id), "CRYPT-")
}

// processes lists a supervisor and its children, by id.
func processes(root int) map[int]string {
	out := map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		open, end := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
		if open < 0 || end < open || end+2 > len(b) {
			continue
		}
		fields := strings.Fields(string(b[end+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil || len(fields) < 2 {
			continue
		}
		if parent, _ := strconv.Atoi(fields[1]); pid == root || parent == root {
			out[pid] = string(b[open+1 : end])
		}
	}
	return out
}

func coreLimit(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, found := strings.CutPrefix(line, "Max core file size"); found {
			words := strings.Fields(rest)
			if len(words) == 0 {
				break
			}
			if words[0] == "unlimited" {
				return 1 << 62, nil
			}
			return strconv.ParseUint(words[0], 10, 64)
		}
	}
	return 0, errors.New("no limit is listed")
}

// neededFiles is what a server with its pools, uploads and connections opens
// on a busy day.
const neededFiles = 4096

func limits(context.Context, *Patient) []Finding {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return []Finding{warning("open files", "the limit cannot be seen: "+err.Error(), "none: report this")}
	}
	if l.Max < neededFiles {
		return []Finding{warning("open files", fmt.Sprintf("a process may open %d files, and a busy server opens more", l.Max), fmt.Sprintf("raise the hard limit to %d or more (LimitNOFILE= in systemd)", neededFiles))}
	}
	return []Finding{ok("open files", fmt.Sprintf("a process may open %d", l.Max))}
}
