#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"

static int cmd_help(struct cli *c, const struct args *a);

static const struct cli_option init_options[] = {
    { "name", "DEVICE", "the name of this device (default: the host's name)" },
    { "no-recovery", NULL, "make no recovery phrase now (later: `lanyard device recovery new`)" },
    { 0 },
};
static const struct cli_option up_options[] = {
    { "listen", "ADDR:PORT", "where to listen; port 0 takes any free one" },
    { "no-mdns", NULL, "neither announce this node nor look for others by multicast" },
    { "peer", "HOST:PORT", "an address where another node may be found; may be given several times" },
    { "detach", NULL, "go on in the background once the node is ready; its log is the file `log` in the home directory" },
    { 0 },
};
static const struct cli_option join_options[] = {
    { "name", "DEVICE", "the name of this device (default: the host's name)" },
    { "at", "HOST:PORT", "the address of the inviter, as its ready line shows it, where multicast does not work" },
    { 0 },
};
static const struct cli_option invite_options[] = {
    { "role", "ROLE", "what the new device may do: member (default), admin or reader" },
    { "ttl", "DURATION", "how long the code can be used (default: 15m)" },
    { "wait", NULL, "return when the device has joined, and show which it is" },
    { 0 },
};
static const struct cli_option status_options[] = {
    { "watch", NULL, "go on showing it, with progress, rates and the time left, until interrupted" },
    { 0 },
};
static const struct cli_option wait_options[] = {
    { "timeout", "DURATION", "give up after this time, with exit code 3 (default: never)" },
    { "peers", "N", "wait also until at least this many peers are online" },
    { 0 },
};
static const struct cli_option resume_options[] = {
    { "accept-deletions", NULL, "the many deletions that made the node pause are meant: pass them on" },
    { 0 },
};
static const struct cli_option device_options[] = {
    { "revoke", "NAME", "recover: revoke this device, the one that is lost" },
    { 0 },
};
static const struct cli_option log_options[] = {
    { "deleted", NULL, "list what has been deleted, with its last version, instead" },
    { "limit", "N", "show at most this many" },
    { 0 },
};
static const struct cli_option cat_options[] = {
    { "version", "ID", "which version, as `lanyard log PATH` shows it (default: the current one)" },
    { 0 },
};
static const struct cli_option restore_options[] = {
    { "version", "ID", "which version, as `lanyard log PATH` shows it (default: the current one, or the last before it was deleted)" },
    { "at", "TIME", "what was there at that time: RFC 3339 (2026-01-31T13:45:00Z) or how long ago (2h)" },
    { "to", "DEST", "bring it back under another name in the folder" },
    { "dry-run", NULL, "change nothing, show what would be changed" },
    { "partial", NULL, "bring back what can be had when some contents are on no device that is online; exit code 1 then" },
    { 0 },
};
static const struct cli_option resolve_options[] = {
    { "keep", "ID", "the version that stays, as `lanyard conflicts` shows it" },
    { 0 },
};
static const struct cli_option snapshot_options[] = {
    { "dry-run", NULL, "restore: only show what would be changed" },
    { "device", "DEVICE", "restore, export: which one, where several devices made one of that name" },
    { 0 },
};
static const struct cli_option require_options[] = {
    { "message", "TEXT", "what the users of the devices are told" },
    { "until", "WHEN", "until when: 2h, or 2026-01-31T13:45:00Z (default: until it is cancelled)" },
    { "mode", "MODE", "auto (default): devices get it at once; prompt: when their user accepts; strict: as auto, and files are read-only meanwhile" },
    { "to", "NAME", "only this device; may be given several times" },
    { "dry-run", NULL, "require nothing, show who is behind and by how much, and who cannot be reached" },
    { "wait", NULL, "return when all devices have reached it" },
    { "timeout", "DURATION", "with --wait: give up after this time, with exit code 3 (default: never)" },
    { "watch", NULL, "status: go on showing it until interrupted; with --wait until all have reached it" },
    { "csv", NULL, "status, verify: the devices as comma-separated values" },
    { 0 },
};
static const struct cli_option gate_options[] = {
    { "timeout", "DURATION", "wait: give up after this time, with exit code 6 (default: never)" },
    { "reason", "TEXT", "override: why" },
    { "term", NULL, "run: end CMD when a lock comes, with SIGTERM and after --grace SIGKILL, and exit with code 6" },
    { "grace", "DURATION", "run: how long CMD has to do what a signal says (default: 10s)" },
    { 0 },
};
static const struct cli_option audit_options[] = {
    { "since", "WHEN", "only what was done since then: 2026-01-31T13:45:00Z, or how long ago (2h)" },
    { "limit", "N", "show at most this many" },
    { "verify", NULL, "recompute every hash and signature of it instead, and name what is not as it was signed" },
    { 0 },
};
static const struct cli_option check_options[] = {
    { "repair", NULL, "repair what can be repaired (the default)" },
    { "no-repair", NULL, "only look" },
    { 0 },
};
static const struct cli_option events_options[] = {
    { "follow", NULL, "go on with what happens from now, until interrupted" },
    { 0 },
};

static const struct command commands[] = {
    { "init", "[--name DEVICE] [--no-recovery] [FOLDER]", "make this device's keys and a new group that it owns",
      "FOLDER (default: ~/Lanyard) is created if it is missing; files that are in it already are taken in. A home directory that\n"
      "holds a device already is left alone. Start the node with `lanyard up` afterwards.\n"
      "The recovery phrase is shown this once. With it another device becomes owner when this one is lost: `lanyard device recover`.",
      init_options, 0, 1, false, cmd_init },
    { "up", "[--listen ADDR:PORT] [--no-mdns] [--peer HOST:PORT]... [--detach]", "run the node",
      "Runs in the foreground until SIGTERM or SIGINT. One line says when it is ready:\n"
      "lanyard: ready, device NAME (ID), listening on ADDR:PORT",
      up_options, 0, 0, true, cmd_up },
    { "down", "", "stop the running node", "Returns when it has ended.", NULL, 0, 0, false, cmd_down },
    { "invite", "[--role ROLE] [--ttl DURATION] [--wait]", "make a one-time code for a new device",
      "The first line on standard output is the code, XXXXX-XXXXX. Type it on the new device with `lanyard join`. Whoever has it\n"
      "can join once, until its time is over.",
      invite_options, 0, 0, false, cmd_invite },
    { "join", "CODE [--name DEVICE] [--at HOST:PORT] [FOLDER]",
      "make this device a member of a group, with a code from `lanyard invite`",
      "FOLDER (default: ~/Lanyard) is created if it is missing. Start the node with `lanyard up` afterwards.",
      join_options, 1, 2, false, cmd_join },
    { "status", "[--watch]", "show this node, its peers and what is left to do", "", status_options, 0, 0, false, cmd_status },
    { "wait", "[--timeout DURATION] [--peers N]", "return when everything is in sync",
      "That is: this device has all that its online peers have, they have all of its, and at least N peers are online.",
      wait_options, 0, 0, false, cmd_wait },
    { "scan", "", "look at the whole folder now", "The node normally notices changes by itself. Returns when done.", NULL, 0, 0,
      false, cmd_scan },
    { "pause", "", "stop exchanging with peers", "Local changes go on being recorded.", NULL, 0, 0, false, cmd_pause },
    { "resume", "[--accept-deletions]", "exchange with peers again", "", resume_options, 0, 0, false, cmd_resume },
    { "devices", "", "list the devices of the group", "", NULL, 0, 0, false, cmd_devices },
    { "device", "role NAME ROLE | rename NAME NEW | revoke NAME | recover [--revoke NAME] | recovery new", "change what a device may do, or its name, or end its membership",
      "role      owner, admin, member or reader; counts at once. Nobody gives a role above his own, and one owner always stays\n"
      "rename    under which name it is shown\n"
      "revoke    it is no member any more: nobody speaks with it, and it keeps the files it has\n"
      "recover   makes this device an owner, with the recovery phrase of the group, which is read from the terminal or standard input\n"
      "recovery  new: a new recovery phrase; only owners can make one\n"
      "NAME is a name or the beginning of an id, as `lanyard devices` shows them. Only owners and admins can do this, and only an owner\n"
      "to an owner.", device_options, 1, 3, false, cmd_device },
    { "log", "[--deleted] [--limit N] [PATH]", "show the versions of a file, or the latest changes of the folder or of a directory",
      "Newest first. CONTENT says where a version's content can be had: here, from peers that are online, or gone, as long as\n"
      "none of those that are online has it.",
      log_options, 0, 1, false, cmd_log },
    { "cat", "[--version ID] PATH", "write a version of a file to standard output", "Deleted files can be read too.",
      cat_options, 1, 1, true, cmd_cat },
    { "restore", "[--version ID | --at TIME] [--to DEST] [--dry-run] [--partial] [PATH]",
      "bring back an old or deleted version of a file, or the folder of some time",
      "What is brought back is a new version: nothing is rewritten, and it can be undone the same way. With --at and a directory, or\n"
      "no PATH, all becomes as it was then, as far as this device knows; what did not exist then is deleted. A deleted directory comes\n"
      "back with all that was deleted along with it.",
      restore_options, 0, 1, false, cmd_restore },
    { "conflicts", "", "list the versions that lost against one made at the same time",
      "They are kept and wait for a look. Nothing is lost by ignoring them.", NULL, 0, 0, false, cmd_conflicts },
    { "require", "[--message TEXT] [--until WHEN] [--mode MODE] [--to NAME]... [--dry-run | --wait] | "
      "status [--wait] [--watch | --csv] [ID] | cancel [ID] | export [ID] FILE | verify FILE",
      "make every device reach the version that this one has now, and lock it until it has",
      "Only owners and admins can. Devices that are online are locked at once, others when they return; a device is unlocked when it has\n"
      "all of it, or the requirement is cancelled or over, and it is never locked while no device online could help it.\n"
      "status    how far each device is; exit code 0 when all have reached it, or no version is required, else 1\n"
      "cancel    ends it for all\n"
      "export    writes the receipts, what the devices have signed, to a file\n"
      "verify    checks such a file, without a node; exit code 1 when anything in it is not genuine",
      require_options, 0, 3, false, cmd_require },
    { "gate", "[status | accept | wait [--timeout DURATION] | override --reason TEXT | run [--term] [--grace DURATION] -- CMD [ARGUMENT]...]",
      "the required version, seen from the device that has to reach it",
      "status    whether this device is locked, by whom, and how far it is\n"
      "accept    begin to get it, where the admin left that to the user (mode prompt)\n"
      "wait      return when this device is not locked\n"
      "override  go on without the required version, in an emergency; the admins see it\n"
      "run       run CMD as soon as this device is not locked. It is stopped while a lock holds, with all that it has started, and goes\n"
      "          on afterwards. The exit code is that of CMD, 128 + N when signal N has killed it.",
      gate_options, 0, -1, false, cmd_gate },
    { "policy", "[list | get KEY | set KEY VALUE | unset KEY]", "show or change what holds for all devices",
      "Only owners and admins can change it. All devices follow as soon as they hear of it.", NULL, 0, 3, false, cmd_policy },
    { "resolve", "--keep ID PATH", "settle a conflict", "The other versions can still be had with `lanyard restore`.",
      resolve_options, 1, 1, false, cmd_resolve },
    { "snapshot", "[list | create NAME | restore NAME [PATH] | export NAME FILE | remove NAME]", "named states of the whole folder",
      "create    names what is in the folder now; it costs no copy, and all devices hear of it\n"
      "restore   makes everything, or what lies at PATH, as it was; what is there now stays as versions\n"
      "export    writes it as a tar archive; FILE must not exist, - is standard output\n"
      "remove    forgets the name; what it kept may go when its time is over\n"
      "The contents of a snapshot are never given up by devices that have them. The setting `snapshots` makes them by itself.",
      snapshot_options, 0, 3, false, cmd_snapshot },
    { "audit", "[--since WHEN] [--limit N] | --verify", "show who did what: a record that nobody can change unnoticed",
      "Who joined, was revoked, got another role or name, required or cancelled a version; and who accepted one, restored, resolved,\n"
      "removed a snapshot or deleted many files at once. Newest first, in the same order on all devices.",
      audit_options, 0, 0, false, cmd_audit },
    { "check", "[--no-repair]", "verify everything that is stored, and repair it",
      "Reads the index, all files of the folder, all old versions and packs, and compares them with what they should be. What is\n"
      "damaged is fetched again from another device, or from another place on this disk; damaged bytes are kept aside. Exit code 1 when\n"
      "something is damaged and could not be repaired.", check_options, 0, 0, false, cmd_check },
    { "gc", "", "pack old versions and forget those that have expired",
      "The node does this by itself when it is idle. Returns when it is done. How long versions are kept and how much of the disk they\n"
      "may take: `lanyard config get history_days`, `lanyard config get history_share`.", NULL, 0, 0, false, cmd_gc },
    { "config", "[list | get KEY | set KEY VALUE]", "show or change the settings of this node",
      "Works with and without a running node.", NULL, 0, 3, false, cmd_config },
    { "events", "[--follow]", "show what happens, one JSON object a line", "", events_options, 0, 0, false, cmd_events },
    { "version", "", "show the versions of the program, the protocol and the libraries",
      "Of the running node; when none runs, of this program.", NULL, 0, 0, false, cmd_version },
    { "help", "[COMMAND]", "show how to use a command, or all of them", "", NULL, 0, 1, true, cmd_help },
    { 0 },
};

static void print_options(const struct cli_option *o)
{
    for (; o && o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        printf("  %-20s  %s\n", left, o->text);
    }
}

static void print_overview(void)
{
    printf("usage: lanyard [--home DIR] [--json] COMMAND [ARGUMENT]...\n\n"
           "Keeps a folder the same on all devices of a group, without a server.\n\ncommands:\n");
    for (const struct command *c = commands; c->name; c++)
        printf("  %-10s  %s\n", c->name, c->summary);
    printf("\noptions, before or after the command:\n");
    print_options(global_options);
    printf("\n`lanyard COMMAND --help` tells more about one. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 timed out,\n"
           "4 the node is not running, 5 denied, 6 locked by a required version.\n");
}

static void print_command(const struct command *c)
{
    printf("usage: lanyard %s%s%s\n\nlanyard %s: %s\n", c->name, *c->args ? " " : "", c->args, c->name, c->summary);
    if (*c->help)
        printf("\n%s\n", c->help);
    printf("\noptions:\n");
    print_options(c->options);
    for (const struct cli_option *o = global_options; o->name; o++) {
        bool hidden = strcmp(o->name, "version") == 0 || (c->no_json && strcmp(o->name, "json") == 0);
        if (!hidden)
            print_options((const struct cli_option[]){ *o, { 0 } });
    }
}

static int cmd_help(struct cli *c, const struct args *a)
{
    (void)c;
    const char *name = args_word(a, 0);
    const struct command *about = name ? command_find(commands, name) : NULL;
    if (name && !about)
        return command_unknown(commands, name);
    if (about)
        print_command(about);
    else
        print_overview();
    return 0;
}

/* What reads no home works where there is none. */
static bool needs_home(const struct args *a)
{
    const char *word = args_word(a, 0);
    return a->command->run != cmd_help && !(a->command->run == cmd_require && word && strcmp(word, "verify") == 0);
}

static int run(struct cli *c, const struct args *a)
{
    if (a->help && a->command)
        print_command(a->command);
    else if (a->version)
        printf("lanyard %s\n", LANYARD_VERSION);
    else if (a->help)
        print_overview();
    else if (!a->command)
        return usage_error("no command: `lanyard help` lists them all");
    if (a->help || a->version)
        return 0;
    int code = args_check(a);
    if (code)
        return code;
    c->home_given = a->home;
    c->json = a->json;
    int rc = needs_home(a) ? ctl_home(a->home, c->home, sizeof c->home) : 0;
    return rc < 0 ? failed(rc) : a->command->run(c, a);
}

/* The one line on stderr. Texts of the node are as untrusted on a terminal as file names. */
static void complain(void)
{
    const char *text = err_text();
    AUTO(buf_release) struct buf line = BUF_INIT(8192);
    out_safe(&line, (struct bytes){ (const uint8_t *)text, strlen(text) }, false);
    fprintf(stderr, "lanyard: %.*s\n", (int)line.len, (const char *)line.data);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_DFL); /* whoever reads our output may stop: that is no error worth a word */
    setlocale(LC_CTYPE, "C.UTF-8"); /* widths of characters */
    struct cli c = { .out = out_to(stdout) };
    struct args a;
    int code = args_parse(&a, commands, argc, argv);
    if (!code)
        code = run(&c, &a);
    args_release(&a);
    if ((fflush(stdout) != 0 || ferror(stdout)) && !code)
        code = failed(err_set(ERR_IO, "standard output: %m"));
    if (code && !c.silent)
        complain();
    return code;
}
