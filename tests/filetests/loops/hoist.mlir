// Ops without effects leave the loops that do not change them, and equal ones are one.
// run: hoist
module {
  func.func @f(%y: memref<?xf32>, %n: index, %a: f32) {
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    scf.for %i = %c0 to %n step %c1 {
      scf.for %j = %c0 to %n step %c1 {
        %0 = arith.muli %i, %n : index
        %1 = arith.addi %0, %j : index
        %2 = arith.mulf %a, %a : f32
        %3 = arith.mulf %a, %a : f32
        %4 = arith.addf %2, %3 : f32
        memref.store %4, %y[%1] : memref<?xf32>
        scf.yield
      }
      scf.yield
    }
    func.return
  }
}
// expect:
// module {
//   func.func @f(%y: memref<?xf32>, %n: index, %a: f32) {
//     %c0 = arith.constant 0 : index
//     %c1 = arith.constant 1 : index
//     %0 = arith.mulf %a, %a : f32
//     %1 = arith.addf %0, %0 : f32
//     scf.for %i = %c0 to %n step %c1 {
//       %2 = arith.muli %i, %n : index
//       scf.for %j = %c0 to %n step %c1 {
//         %3 = arith.addi %2, %j : index
//         memref.store %1, %y[%3] : memref<?xf32>
//         scf.yield
//       }
//       scf.yield
//     }
//     func.return
//   }
// }
