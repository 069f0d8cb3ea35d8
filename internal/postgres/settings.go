package postgres

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// guarded settings carry promises: nothing but the socket is served, and no
// value that a customer stored reaches the log. They cannot be changed.
//
// A statement's text and a constraint's detail ("Key (email)=(…) already
// exists") would put content into the log, so statements are never logged with
// errors and messages are terse. Parameters are never logged. What is left, the
// message itself, is the business of redact.
var guarded = map[string]string{
	"listen_addresses":                  "",
	"unix_socket_permissions":           "0777", // the peer map decides who gets in, not the file mode
	"log_statement":                     "none",
	"log_parameter_max_length":          "0",
	"log_parameter_max_length_on_error": "0",
	"log_min_duration_statement":        "-1",
	"log_min_duration_sample":           "-1",
	"log_transaction_sample_rate":       "0",
	"log_min_error_statement":           "panic",
	"log_error_verbosity":               "terse",
	"log_line_prefix":                   logPrefix,
	"log_duration":                      "off",
	"log_parser_stats":                  "off",
	"log_temp_files":                    "-1",
	"debug_print_parse":                 "off",
	"debug_print_rewritten":             "off",
	"debug_print_plan":                  "off",
	"log_destination":                   "stderr",
	"logging_collector":                 "off",
	"row_security":                      "on",
	"ssl":                               "off", // there is no network to encrypt
	"session_preload_libraries":         "",
	"local_preload_libraries":           "",
}

// defaults may be overridden by Options.Settings.
var defaults = map[string]string{
	"max_connections":           "200", // sixteen logins with a pool each, and the control plane
	"shared_buffers":            "128MB",
	"max_locks_per_transaction": "256",     // a migration or a restore touches many small schemas
	"wal_level":                 "replica", // for backups
	"autovacuum_naptime":        "10s",     // the queue of audit events turns over every moment
	"jit":                       "off",     // short statements; compiling costs more than it saves
	"timezone":                  "UTC",
	"log_timezone":              "UTC",
	"log_min_messages":          "warning",
	"log_checkpoints":           "off",
	"lc_messages":               "C",
	"password_encryption":       "scram-sha-256",
	"synchronous_commit":        "on",
	"fsync":                     "on",
	"full_page_writes":          "on",
}

var settingName = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$`)

// owned are set by Start itself.
var owned = []string{"data_directory", "config_file", "hba_file", "ident_file", "external_pid_file", "unix_socket_directories", "unix_socket_group", "port"}

// checkSettings refuses what cannot be changed, and names it.
func checkSettings(settings map[string]string) error {
	for name, value := range settings {
		if !settingName.MatchString(name) {
			return fmt.Errorf("PostgreSQL setting %q: not a setting's name", name)
		}
		if fixed, ok := guarded[name]; ok && value != fixed {
			return fmt.Errorf("PostgreSQL setting %s: it is fixed at '%s', because a promise rests on it", name, fixed)
		}
		if slices.Contains(owned, name) {
			return fmt.Errorf("PostgreSQL setting %s: Strongroom sets it", name)
		}
		if strings.ContainsAny(value, "\x00\n\r") {
			return fmt.Errorf("PostgreSQL setting %s: a value has one line", name)
		}
	}
	return nil
}

// configuration is the whole of postgresql.conf.
func configuration(settings map[string]string) string {
	all := maps.Clone(defaults)
	maps.Copy(all, settings)

	var b strings.Builder
	b.WriteString("# Written anew at every start of Strongroom. Settings of your own belong into\n# strongroom.toml, under [postgres.settings].\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s = %s\n", name, quote(all[name]))
	}
	return b.String()
}

// arguments fix what a promise rests on: the command line outranks
// postgresql.conf and ALTER SYSTEM.
func arguments(dataDir, socketDir string) []string {
	all := maps.Clone(guarded)
	all["unix_socket_directories"] = quoteDir(socketDir)
	all["port"] = port
	args := []string{"-D", dataDir}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		args = append(args, "-c", name+"="+all[name])
	}
	return args
}

// quoteDir keeps a folder whose name holds a comma or a space one element of
// the list that unix_socket_directories is.
func quoteDir(dir string) string { return `"` + strings.ReplaceAll(dir, `"`, `""`) + `"` }

// quote writes a value as a string of postgresql.conf, where a backslash
// escapes and a quote is doubled.
func quote(v string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(v, `\`, `\\`), "'", "''") + "'"
}

const mapName = "strongroom"

// access is the whole of pg_hba.conf: the socket only, and there the kernel
// itself says which operating-system user calls.
func access() string {
	return "# Written anew at every start of Strongroom.\nlocal all all peer map=" + mapName + "\n"
}

// identities is the whole of pg_ident.conf: which operating-system user may
// log in as what. PostgreSQL 15 has no patterns for the login, so every pair is
// a line.
func identities(admin string, superuser string, users, logins []string) string {
	var b strings.Builder
	b.WriteString("# Written anew at every start of Strongroom.\n")
	fmt.Fprintf(&b, "%s %s %s\n", mapName, identQuote(admin), identQuote(superuser))
	for _, u := range slices.Compact(slices.Sorted(slices.Values(append([]string{admin}, users...)))) {
		for _, l := range logins {
			fmt.Fprintf(&b, "%s %s %s\n", mapName, identQuote(u), identQuote(l))
		}
	}
	return b.String()
}

// identQuote keeps a name literal: unquoted, a leading slash would begin a
// pattern, and quoting does not change that, so checkNames refuses it.
func identQuote(s string) string { return `"` + s + `"` }

var loginName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.$@-]{0,62}$`)

func checkNames(what string, names ...string) error {
	for _, n := range names {
		if !loginName.MatchString(n) {
			return fmt.Errorf("%s %q: not a name that PostgreSQL's user map can hold", what, n)
		}
	}
	return nil
}

// replace writes a file of the data directory durably: after a power cut it is
// the old or the new one.
func (o *Options) replace(dir, name, content string) error {
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.WriteString(content)
	if err == nil {
		err = f.Sync()
	}
	if err == nil && o.User != nil {
		// By descriptor: the folder is the PostgreSQL user's, who could put a
		// symbolic link where the name was.
		err = f.Chown(int(o.User.UID), int(o.User.GID))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	return err
}
