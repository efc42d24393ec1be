# cmake -DOUT=FILE -P commit.cmake: a header with the last commit that changed the program, so that figures can say
# what they are of; "+" behind it: with changes of one's own. Written only when it changes.
cmake_minimum_required(VERSION 3.25)
set(paths include src cli cmake CMakeLists.txt)
execute_process(COMMAND git log -1 --format=%h -- ${paths}
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
  set(commit unknown) # a source archive, or no git
else()
  execute_process(COMMAND git diff --quiet HEAD -- ${paths} RESULT_VARIABLE changed ERROR_QUIET)
  if(changed)
    string(APPEND commit "+")
  endif()
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define ISO_COMMIT \"@commit@\"\n" @ONLY)
