/*
 * How many instructions did the guest run?  A plugin for QEMU's TCG, built for
 * the API version that the installed QEMU speaks (-DPLUGIN_API=N).
 *
 * Every translated block adds its own length to one counter each time it is
 * entered.  The addition is atomic, so threads lose nothing.  At exit the total
 * goes to the file named by the plugin's argument, `out=PATH`: stderr belongs
 * to the guest.
 *
 * QEMU ships no header for plugins on Debian 12, so the few declarations used
 * are repeated here; all of them have kept their meaning since API version 0.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PLUGIN_API
#error "compile with -DPLUGIN_API=1 (QEMU before 9) or 2 (QEMU 9 and later)"
#endif

typedef uint64_t plugin_id;
struct qemu_info;
struct qemu_plugin_tb;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
                                           void (*on_block)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block,
                                          void (*on_entry)(unsigned int vcpu, void *data),
                                          int register_access, void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, void (*on_exit)(plugin_id, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

enum { NO_REGISTERS = 0 };

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;

static uint64_t instructions;
static char *report_path;

static void block_entered(unsigned int vcpu, void *length)
{
    (void)vcpu;
    __atomic_fetch_add(&instructions, (uint64_t)(uintptr_t)length, __ATOMIC_RELAXED);
}

static void block_translated(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    uintptr_t length = qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_cb(block, block_entered, NO_REGISTERS, (void *)length);
}

static void guest_exited(plugin_id id, void *unused)
{
    (void)id;
    (void)unused;
    FILE *report = fopen(report_path, "w");
    if (!report) {
        perror(report_path);
        return;
    }
    fprintf(report, "%" PRIu64 "\n", __atomic_load_n(&instructions, __ATOMIC_RELAXED));
    fclose(report);
}

__attribute__((visibility("default"))) int
qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0) {
            report_path = strdup(argv[i] + 4);
        }
    }
    if (!report_path) {
        fprintf(stderr, "count plugin: no out=PATH given\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, block_translated);
    qemu_plugin_register_atexit_cb(id, guest_exited, NULL);
    return 0;
}
