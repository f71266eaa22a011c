# Writes a C file with the bytes of the Lua library, in the form that core/script/embedded.h
# declares. CMakeLists.txt calls it: -DROOT=the repository -DFILES=lua/a.lua,lua/b.lua -DOUTPUT=x.c
string(REPLACE "," ";" FILES "${FILES}")
set(arrays "")
set(table "")
set(number 0)

foreach(file IN LISTS FILES)
  # lua/moonwire/http.lua is the module moonwire.http; an init.lua is its folder's module.
  string(REGEX REPLACE "^lua/(.*)\\.lua$" "\\1" module "${file}")
  string(REGEX REPLACE "/init$" "" module "${module}")
  string(REPLACE "/" "." module "${module}")

  file(READ ${ROOT}/${file} hex HEX)
  string(LENGTH "${hex}" length)
  math(EXPR length "${length} / 2")
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")

  # The byte after the end keeps an empty file's array legal; it is not counted.
  string(APPEND arrays "static const unsigned char module_${number}[] = {\n${bytes}0};\n\n")
  string(APPEND table
         "    {\"${module}\", \"${file}\", module_${number}, ${length}},\n")
  math(EXPR number "${number} + 1")
endforeach()

file(WRITE ${OUTPUT}
  "/* Generated from lua/ by scripts/embed_lua.cmake. */\n"
  "#include <stddef.h>\n\n#include \"script/embedded.h\"\n\n"
  "${arrays}"
  "const struct embedded_module embedded_modules[] = {\n${table}    {NULL, NULL, NULL, 0},\n};\n")
