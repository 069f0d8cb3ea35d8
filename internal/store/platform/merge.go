package platform

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// MergeMigrations joins the features' migrations into the one set that every
// organization's schema runs. Each set holds its files in a folder named
// migrations; their numbers come from one sequence, so a number used twice is
// refused.
func MergeMigrations(sets ...fs.FS) (fs.FS, error) {
	all := merged{}
	numbers := map[string]string{}
	for _, set := range sets {
		files, err := fs.Glob(set, "migrations/*.sql")
		if err != nil {
			return nil, fmt.Errorf("platform: migrations: %w", err)
		}
		sub, err := fs.Sub(set, "migrations")
		if err != nil {
			return nil, fmt.Errorf("platform: migrations: %w", err)
		}
		for _, file := range files {
			name := strings.TrimPrefix(file, "migrations/")
			number, _, _ := strings.Cut(name, "_")
			if other, taken := numbers[number]; taken {
				return nil, fmt.Errorf("platform: migrations %s and %s have one number", other, name)
			}
			numbers[number], all[name] = name, sub
		}
	}
	return all, nil
}

// merged is a flat folder whose files come from several places.
type merged map[string]fs.FS

func (m merged) Open(name string) (fs.File, error) {
	if set, ok := m[name]; ok {
		return set.Open(name)
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir lists the files in order.
func (m merged) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var list []fs.DirEntry
	for file, set := range m {
		info, err := fs.Stat(set, file)
		if err != nil {
			return nil, err
		}
		list = append(list, fs.FileInfoToDirEntry(info))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}
