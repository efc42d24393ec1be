#include "report/page.h"

#include "report/markup.h"

#include <stdlib.h>

#define WIDE_PX   720.0
#define NARROW_PX 340.0

#define BROAD_COLUMNS 8 /* tables of so many are given more room than the text has */

/* Colours: ink on paper at 7:1 or more for text; the sides' hues follow Okabe & Ito (told apart
 * with any common colour blindness), darkened for white paper, lightened for dark, and doubled by
 * dashes so that they survive a grey print. The heat scale is blue - grey - orange for the same
 * reason. */
static const char style[] =
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1a1c1f;--soft:#565b63;--line:#d5d8dd;"
    "--wash:#f3f5f7;--s0:#1a1c1f;--s1:#0067a5;--s2:#c44e00;--s3:#007a58;--s4:#a33d80;--s5:#8a6500;"
    "--s6:#4a5fc1;--h0:#0b4f8a;--h1:#4f93c7;--h2:#a9cbe4;--h3:#d9d9d6;--h4:#f3c08f;--h5:#e2853a;"
    "--h6:#a94a00;--paper-band:#eef3ea;--good:#007a58;--bad:#c44e00;--ghost:#a9afb8;"
    "--law:#7a5b9a}"
    "@media screen and "
    "(prefers-color-scheme:dark){:root{--paper:#15171a;--ink:#e8eaed;--soft:#a9afb8;"
    "--line:#3a3f46;--wash:#1f2327;--s0:#f0f1f3;--s1:#56b4e9;--s2:#f58b4c;--s3:#2fc79a;"
    "--s4:#dc8fc0;--s5:#e0b23c;--s6:#9aa9ff;--h0:#7cc0f5;--h1:#4a8fc4;--h2:#2f5f85;--h3:#4a4d50;"
    "--h4:#7d5227;--h5:#c4722c;--h6:#ffa65c;--paper-band:#1f2a20;--good:#2fc79a;--bad:#f58b4c;"
    "--ghost:#6a7079;--law:#bfa2de}}"
    "*{box-sizing:border-box}"
    "html{-webkit-text-size-adjust:100%}"
    "body{margin:0 auto;padding:1.25rem 1rem 3rem;max-width:46.5rem;background:var(--paper);"
    "color:var(--ink);font:1rem/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\","
    "sans-serif;overflow-wrap:anywhere}"
    "h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0 1rem}"
    "h2{font-size:1.15rem;margin:2.4rem 0 .5rem;padding-top:.6rem;"
    "border-top:1px solid var(--line)}"
    "h3{font-size:1rem;margin:1.4rem 0 .3rem}"
    "p{margin:.5rem 0}"
    ".soft,figcaption{color:var(--soft);font-size:.875rem}"
    ".lines{white-space:pre-line}"
    ".answer{border-left:.3rem solid var(--soft);background:var(--wash);padding:.7rem 1rem;"
    "margin:1rem 0}"
    ".answer p{font-size:1.1rem;line-height:1.45;margin:.2rem 0}"
    ".answer p.soft{font-size:.95rem;margin-top:.6rem}"
    ".answer .tag{font-size:.8rem;font-weight:700;letter-spacing:.04em;text-transform:uppercase}"
    ".answer.moe,.answer.dense{border-color:var(--s1)}.answer.none{border-color:var(--bad)}"
    "figure{margin:1.2rem 0;break-inside:avoid}"
    "figure h3{margin-top:0}"
    "svg{display:block;width:100%;height:auto;max-width:720px}"
    "svg text{font:13px system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif;"
    "fill:var(--ink)}"
    "svg text.small{fill:var(--soft);font-variant-numeric:tabular-nums}"
    ".narrow{display:none}"
    ".grid{stroke:var(--line);stroke-width:1;fill:none}"
    ".axis,.tick{stroke:var(--soft);stroke-width:1;fill:none}"
    ".line{fill:none;stroke:var(--c,var(--ink));stroke-width:2;stroke-linejoin:round}"
    ".thin{stroke-width:1.2}.whisker{stroke-width:1.6}"
    ".dot{fill:var(--c,var(--ink));stroke:var(--paper);stroke-width:1}"
    ".seed{fill-opacity:.55;stroke:none}"
    ".band{fill:var(--c,var(--ink));fill-opacity:.16;stroke:none}"
    ".claim{fill:var(--paper-band)}"
    ".s0{--c:var(--s0)}.s1{--c:var(--s1)}.s2{--c:var(--s2)}.s3{--c:var(--s3)}.s4{--c:var(--s4)}"
    ".s5{--c:var(--s5)}.s6{--c:var(--s6)}"
    ".line.s0{stroke-dasharray:7 4}.line.s2{stroke-dasharray:9 2}.line.s3{stroke-dasharray:4 2}"
    ".line.s4{stroke-dasharray:10 3 2 3}.line.s5{stroke-dasharray:2 2}"
    ".line.s6{stroke-dasharray:12 2 2 2 2 2}"
    ".span{fill:var(--c,var(--ink));fill-opacity:.1;stroke:none}"
    ".line.zero{stroke:var(--soft);stroke-width:1}"
    ".line.alt{stroke-dasharray:2 4}.line.third{stroke-dasharray:12 3 2 3}"
    ".dot.s0.alt{fill:var(--paper);stroke:var(--s0);stroke-width:1.6}"
    ".line.ghost{stroke:var(--ghost);stroke-width:1.3}"
    ".dot.ghost{fill:var(--paper);stroke:var(--ghost);stroke-width:1.3}"
    ".law{--c:var(--law)}.line.law{stroke-width:1.6;stroke-dasharray:1 4;stroke-linecap:round}"
    ".line.law.alt{stroke-dasharray:5 4}.line.law.third{stroke-dasharray:8 3 1 3}"
    "svg text.label{font-size:11px;fill:var(--soft)}"
    "svg text.label,svg text.halo{paint-order:stroke;stroke:var(--paper);"
    "stroke-width:3px;stroke-linejoin:round}"
    ".line.whisker{stroke-dasharray:none}"
    ".h0{fill:var(--h0)}.h1{fill:var(--h1)}.h2{fill:var(--h2)}.h3{fill:var(--h3)}"
    ".h4{fill:var(--h4)}.h5{fill:var(--h5)}.h6{fill:var(--h6)}"
    ".hx{fill:var(--paper);stroke:var(--ink);stroke-width:1}"
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:.15rem 1rem;margin:.2rem 0 .5rem;"
    "padding:0;font-size:.875rem}"
    ".legend li{display:flex;align-items:center;gap:.4rem}"
    ".legend svg{width:28px;height:12px;flex:none}"
    ".scroll{overflow-x:auto;margin:.2rem 0 1.1rem}.scroll+.files{margin-top:-.8rem}"
    "table{border-collapse:collapse;font-size:.85rem;line-height:1.35;"
    "font-variant-numeric:tabular-nums;overflow-wrap:normal;min-width:100%}"
    "th,td{padding:.3rem .55rem;border-bottom:1px solid var(--line);text-align:right;"
    "vertical-align:top;white-space:nowrap}"
    "thead th{vertical-align:bottom;white-space:normal;border-bottom:2px solid var(--soft)}"
    ".words,th[scope=row],th[scope=rowgroup]{text-align:left}"
    "th:first-child{padding-left:0;min-width:6.5rem;max-width:14rem;white-space:normal;"
    "overflow-wrap:anywhere}"
    "td.words{white-space:normal;min-width:9rem}"
    "th small{display:block;font-weight:400;color:var(--soft)}"
    ".best{font-weight:700}td.best{background:var(--wash)}"
    ".empty{background:var(--wash);color:var(--soft);padding:.7rem 1rem;margin:.4rem 0}"
    ".files{font-size:.8rem;color:var(--soft);margin:.1rem 0 1.4rem}.files a{color:inherit}"
    ".verdict{border-left:.2rem solid var(--line);padding:.1rem 0 .1rem .8rem;margin:1.3rem 0;"
    "break-inside:avoid}.verdict h3{margin:0}.verdict p{margin:.25rem 0}"
    ".verdict.moe{border-color:var(--s1)}.verdict.none{border-color:var(--bad)}"
    ".verdict svg{max-width:360px;margin:.2rem 0}"
    ".tag{font-size:.75rem;font-weight:700;letter-spacing:.04em;text-transform:uppercase}"
    "td.long{min-width:17rem}td.short{min-width:0;white-space:nowrap}"
    "th.short{white-space:nowrap;overflow-wrap:normal}"
    "@media screen and (min-width:76rem){.broad{width:70rem;margin-left:-12.75rem}}"
    "tr.group th{padding-top:.8rem;color:var(--soft);font-weight:600}"
    "pre{background:var(--wash);padding:.6rem .8rem;overflow-x:auto;font-size:.8rem;"
    "line-height:1.45;overflow-wrap:normal}"
    "code{font-size:.9em}"
    "details{margin:.4rem 0}summary{cursor:pointer}"
    "dl{margin:.4rem 0;font-size:.9rem}dt{font-weight:600}dd{margin:0 0 .35rem}"
    ".pass{color:var(--good);font-weight:600}.fail{color:var(--bad);font-weight:700}"
    "@media screen and (max-width:40rem){.wide{display:none}.narrow{display:block}"
    "h1{font-size:1.3rem}.answer p{font-size:1.03rem}}"
    "@media print{"
    "*{print-color-adjust:exact;-webkit-print-color-adjust:exact}"
    "body{max-width:none;font-size:10pt;padding:0}"
    "figure svg{max-width:14cm}.scroll{overflow:visible}table{font-size:7.5pt}th,td{padding:.2rem "
    ".3rem;white-space:normal}td.long,td.short{min-width:0;white-space:normal}"
    ".files{display:none}.verdict svg{max-width:8cm}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere}p:has(+pre){break-after:avoid}h2,h3,p[id$=-c]{"
    "break-after:avoid}tr{break-"
    "inside:avoid}"
    "}";

void iso_page_open(iso_str *out, const char *title) {
    iso_str_append(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n"
                        "<title>");
    iso_markup_text(out, title);
    iso_str_append(out, "</title>\n<style>");
    iso_str_append(out, style);
    iso_str_append(out, "</style>\n</head>\n<body>\n<main>\n<h1>");
    iso_markup_text(out, title);
    iso_str_append(out, "</h1>\n");
}

void iso_page_close(iso_str *out) {
    iso_str_append(out, "</main>\n</body>\n</html>\n");
}

void iso_page_section(iso_str *out, const char *id, const char *heading) {
    iso_str_appendf(out, "<section id=\"%s\">\n<h2>", id);
    iso_markup_text(out, heading);
    iso_str_append(out, "</h2>\n");
}

void iso_page_section_close(iso_str *out) {
    iso_str_append(out, "</section>\n");
}

void iso_page_text(iso_str *out, const char *class, const char *text) {
    if (class)
        iso_str_appendf(out, "<p class=\"%s\">", class);
    else
        iso_str_append(out, "<p>");
    iso_markup_text(out, text);
    iso_str_append(out, "</p>\n");
}

void iso_page_figure(iso_str *out, const char *id, const char *title, const char *caption,
                     const char *legend_html, iso_page_draw_fn draw, const void *ctx,
                     double wide_height, double narrow_height) {
    iso_str_append(out, "<figure>\n<h3>");
    iso_markup_text(out, title);
    iso_str_append(out, "</h3>\n");
    if (legend_html) iso_str_append(out, legend_html);
    char *wide = iso_strf("%s-w", id), *narrow = iso_strf("%s-n", id);
    iso_str_append(out, "<div class=\"wide\">\n");
    draw(out, ctx, wide, WIDE_PX, wide_height);
    iso_str_append(out, "</div>\n<div class=\"narrow\">\n");
    draw(out, ctx, narrow, NARROW_PX, narrow_height);
    iso_str_append(out, "</div>\n<figcaption>");
    iso_markup_text(out, caption);
    iso_str_append(out, "</figcaption>\n</figure>\n");
    free(wide);
    free(narrow);
}

void iso_page_table_columns(iso_str *out, const char *id, const char *caption,
                            const iso_page_column *columns, int64_t n_columns) {
    /* The caption stands outside of what scrolls, to wrap at the screen's width; the scrolling part
     * takes the focus, so that the keyboard can move it. */
    iso_str_appendf(out, "<p class=\"soft\" id=\"%s-c\">", id);
    iso_markup_text(out, caption);
    bool is_broad = n_columns >= BROAD_COLUMNS;
    iso_str_appendf(out,
                    "</p>\n<div class=\"scroll%s\" tabindex=\"0\" role=\"group\" "
                    "aria-labelledby=\"%s-c\">\n<table aria-labelledby=\"%s-c\">\n<thead><tr>",
                    is_broad ? " broad" : "", id, id);
    for (int64_t i = 0; i < n_columns; i++) {
        iso_str_append(out, columns[i].is_words ? "<th scope=\"col\" class=\"words\">"
                                                : "<th scope=\"col\">");
        iso_markup_text(out, columns[i].label);
        if (columns[i].unit) {
            iso_str_append(out, "<small>");
            iso_markup_text(out, columns[i].unit);
            iso_str_append(out, "</small>");
        }
        iso_str_append(out, "</th>");
    }
    iso_str_append(out, "</tr></thead>\n<tbody>\n");
}

void iso_page_table_open(iso_str *out, const char *id, const char *caption,
                         const char *const *headers, int64_t n_headers, int64_t n_words) {
    iso_page_column *columns = calloc((size_t)n_headers + 1, sizeof *columns);
    ISO_ASSERT(columns);
    for (int64_t i = 0; i < n_headers; i++)
        columns[i] = (iso_page_column){headers[i], NULL, i < n_words};
    iso_page_table_columns(out, id, caption, columns, n_headers);
    free(columns);
}

void iso_page_table_close(iso_str *out) {
    iso_str_append(out, "</tbody>\n</table>\n</div>\n");
}

void iso_page_table_group(iso_str *out, const char *text, int64_t n_columns) {
    iso_str_appendf(out, "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"%lld\">",
                    (long long)n_columns);
    iso_markup_text(out, text);
    iso_str_append(out, "</th></tr>\n");
}

void iso_page_row_open(iso_str *out, const char *heading, const char *detail) {
    iso_str_append(out, "<tr><th scope=\"row\">");
    iso_markup_text(out, heading);
    if (detail) {
        iso_str_append(out, "<small>");
        iso_markup_text(out, detail);
        iso_str_append(out, "</small>");
    }
    iso_str_append(out, "</th>");
}

void iso_page_row_close(iso_str *out) {
    iso_str_append(out, "</tr>\n");
}

void iso_page_cell(iso_str *out, const char *text) {
    iso_str_append(out, "<td>");
    iso_markup_text(out, text);
    iso_str_append(out, "</td>");
}

void iso_page_cell_words(iso_str *out, const char *text) {
    iso_str_append(out, "<td class=\"words\">");
    iso_markup_text(out, text);
    iso_str_append(out, "</td>");
}

void iso_page_listing(iso_str *out, const char *summary, const char *text) {
    iso_str_append(out, "<details><summary>");
    iso_markup_text(out, summary);
    iso_str_append(out, "</summary>\n");
    iso_page_code(out, text);
    iso_str_append(out, "</details>\n");
}

void iso_page_code(iso_str *out, const char *text) {
    iso_str_append(out, "<pre tabindex=\"0\"><code>");
    iso_markup_text(out, text);
    iso_str_append(out, "</code></pre>\n");
}
